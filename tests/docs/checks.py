"""What is checked of a command that no test can run."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import tempfile
from pathlib import Path

import click
import yaml
from packaging.requirements import Requirement

from cli.main import main
from serving.settings import load_settings
from tests.docs.markdown import ROOT

_ASSIGNMENT = re.compile(r"[A-Z_]+=")


def clead_accepts(command: str) -> None:
    """`clead` takes the line, and the server the settings before it."""
    words = shlex.split(command)
    settings: dict[str, str] = {}
    while _ASSIGNMENT.match(words[0]):
        name, _, value = words.pop(0).partition("=")
        settings[name] = value
    assert words.pop(0) == "clead", command
    with tempfile.TemporaryDirectory() as folder:
        ours = {name: value for name, value in settings.items() if name.startswith("CLEAD_")}
        if "CLEAD_KEYS_FILE" in ours:
            Path(folder, "keys").write_text("0" * 64)
            ours["CLEAD_KEYS_FILE"] = str(Path(folder, "keys"))
        load_settings(ours, directory=Path(folder))
    parse_clead(words)


def parse_clead(words: list[str]) -> None:
    """Raises click's error if `clead` does not take these arguments."""
    command: click.Command | None = main
    context = click.Context(main, info_name="clead")
    while isinstance(command, click.Group):
        name, *words = words
        command = command.get_command(context, name)
        assert command is not None, f"clead has no command {name}"
        context = click.Context(command, info_name=name, parent=context)
    assert command is not None
    command.make_context(command.name, words)


def clead_has_the_options(words: list[str]) -> None:
    """There is such a command, with every option that is named; values and arguments may be missing."""
    command: click.Command | None = main
    context = click.Context(main, info_name="clead")
    while isinstance(command, click.Group) and words:
        command = command.get_command(context, words.pop(0))
        assert command is not None, f"clead has no command of this name, before {words}"
    assert command is not None
    accepted = {option for parameter in command.params for option in parameter.opts} | {"--help"}
    assert {word.partition("=")[0] for word in words if word.startswith("--")} <= accepted


def torchrun_runs_what_clead_accepts(command: str) -> None:
    """What stands after torchrun's own option is a command of `clead`."""
    words = shlex.split(command)
    assert words[:2] == [".venv/test/bin/torchrun", "--nproc-per-node=4"]
    assert words[2] == ".venv/test/bin/clead"
    parse_clead(words[3:])


def benchmark_has_the_options(command: str) -> None:
    """The module exists, and each option is one that it declares."""
    words = shlex.split(command)
    module = words[words.index("-m") + 1]
    # Those directly in the folder declare what several share.
    sources = [ROOT / module.replace(".", "/") / "__main__.py", *(ROOT / "benchmarks").glob("*.py")]
    trees = [ast.parse(source.read_text(encoding="utf-8")) for source in sources]
    declared = {node.value for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    assert {word for word in words if word.startswith("--")} <= declared


def make_knows_the_target(command: str) -> None:
    """`make` could make it."""
    done = subprocess.run(
        ["make", "--dry-run", *shlex.split(command)[1:]],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def bento_is_described(command: str) -> None:
    """The file exists that says what `bentoml build` builds."""
    words = shlex.split(command)
    file = words[words.index("-f") + 1] if "-f" in words else "bentofile.yaml"
    assert yaml.safe_load((ROOT / file).read_text(encoding="utf-8"))["service"] == "serving.service:Service"


def bento_has_the_name(command: str) -> None:
    """The bento is the one that `bentoml build` builds."""
    described = yaml.safe_load((ROOT / "bentofile.yaml").read_text(encoding="utf-8"))
    assert command.split()[2] == f"{described.get('name', 'clead_serve')}:latest"


def secret_is_the_one_that_pods_mount(command: str) -> None:
    """The manifests mount a secret of that name."""
    name = shlex.split(command)[4]
    for file in ("classify.yaml", "probe.yaml"):
        assert f"secretName: {name}" in (ROOT / "deploy" / "kubernetes" / file).read_text(encoding="utf-8")


def kustomization_is_whole(command: str) -> None:
    """Every manifest of the folder is named, and no other."""
    folder = ROOT / shlex.split(command)[-1]
    named = yaml.safe_load((folder / "kustomization.yaml").read_text(encoding="utf-8"))["resources"]
    assert sorted([*named, "kustomization.yaml"]) == sorted(file.name for file in folder.iterdir())


def manifests_can_be_read(command: str) -> None:
    """Every file of the folder is YAML of the kind that `kubectl` takes."""
    for file in (ROOT / shlex.split(command)[-1]).iterdir():
        for document in yaml.safe_load_all(file.read_text(encoding="utf-8")):
            assert {"apiVersion", "kind", "metadata"} <= document.keys(), file


def package_exists(command: str) -> None:
    """It is a name that can be installed; which ones there are only an index knows."""
    assert [Requirement(word) for word in shlex.split(command)[2:]]


def triton_is_started_like_in_its_tests(command: str) -> None:
    """The tests with a real Triton give it the same options."""
    started = (ROOT / "tests" / "engines" / "real_triton.py").read_text(encoding="utf-8")
    for word in shlex.split(command)[1:]:
        assert word.partition("=")[0] in started, word


def script_and_tests_exist(command: str) -> None:
    """Files that the command names below the repository are there, and a script is one that sh can read."""
    for word in shlex.split(command):
        if word.startswith("tests/"):
            assert (ROOT / word).is_file(), word
            if word.endswith(".sh"):
                subprocess.run(["sh", "-n", word], cwd=ROOT, check=True)
