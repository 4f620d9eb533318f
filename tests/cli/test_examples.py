"""Every example, in `--help` and on the page about the command line, is a command line that is accepted."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from cli.commands import Command, first_example
from cli.main import main
from tests.cli.conftest import Clead

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "command_line.md").read_text(encoding="utf-8")


def _commands(group: click.Group, before: str = "") -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from _commands(command, f"{before}{name} ")
        else:
            yield f"{before}{name}", command


COMMANDS = dict(_commands(main))
EXAMPLES = [example for command in COMMANDS.values() for example in getattr(command, "examples", ())]
ON_THE_PAGE = [
    line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()
]


@pytest.mark.parametrize("line", [*EXAMPLES, *ON_THE_PAGE])
def test_an_example_is_accepted(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos" / "test").mkdir(parents=True)
    for name in ("photo.jpg", "mine.json", "keys"):
        (tmp_path / name).touch()
    words = shlex.split(re.split(r" [|>]", line)[0])
    if words[0] == "echo":
        assert "clead completion " in line
        return
    words = words[words.index("clead") + 1 :]
    command: click.Command | None = main
    context = click.Context(main, info_name="clead")
    while isinstance(command, click.Group):
        command = command.get_command(context, words.pop(0))

    assert command is not None
    command.make_context(command.name, words, parent=context)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_examples_of_its_own(name: str) -> None:
    command = COMMANDS[name]

    assert isinstance(command, Command)
    assert command.examples
    if name != "completion":
        assert all(f"clead {name}" in example for example in command.examples)
    assert first_example(command) == command.examples[0]


@pytest.mark.parametrize("name", COMMANDS)
def test_the_page_names_every_command_and_option(name: str) -> None:
    options = {
        option
        for parameter in COMMANDS[name].params
        if isinstance(parameter, click.Option)
        for option in (*parameter.opts, *parameter.secondary_opts)
    }

    assert f"clead {name}" in PAGE
    assert {option for option in options if not re.search(rf"{option}(?![\w-])", PAGE)} == set()


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("doctor", ["doctor"]),
        ("models", ["models"]),
        ("keys new", ["keys", "new", "--scope", "classify"]),
        ("triton-repository", ["triton-repository", "colors", "--out", "repository"]),
    ],
)
def test_the_page_names_every_field_of_the_json(
    clead: Clead,
    color_models: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    arguments: list[str],
) -> None:
    monkeypatch.setenv("CLEAD_MODELS_DIR", str(color_models))
    monkeypatch.chdir(tmp_path)

    result = clead(*arguments, "--json")
    document = json.loads(result.stdout)
    (row,) = re.findall(rf"^\| `clead {name}` \| (.*) \|$", PAGE, re.MULTILINE)

    assert result.exit_code == 0, result.output
    fields = (document[0] if isinstance(document, list) else document).keys()
    assert set(re.findall(r"`(\w+)`", row)) == set(fields)
