"""The group: light to start, honest about what is missing, exit codes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cli import __version__
from cli.main import main
from tests.cli.conftest import Clead

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("torch", "bentoml", "onnxruntime", "numpy", "pydantic", "starlette", "rich.table")


def _python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)


def test_help_imports_nothing_heavy() -> None:
    done = _python(
        "import sys\nfrom cli.main import main\nmain(['--help'], standalone_mode=False)\n"
        f"print('loaded:', *[name for name in {HEAVY!r} if name in sys.modules])"
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "loaded:"


@pytest.mark.parametrize("command", list(main.commands))
def test_every_command_explains_itself(clead: Clead, command: str) -> None:
    overview, detail = clead("--help"), clead(command, "-h")

    assert (overview.exit_code, detail.exit_code) == (0, 0)
    assert f"  {command} " in overview.output
    assert "..." not in overview.output.partition("Make a model:")[2]
    assert f"clead {command}" in detail.output


@pytest.mark.parametrize("columns", ["60", "200"])
def test_every_command_stands_once_under_a_heading_with_an_example(
    clead: Clead, monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    listed, _, examples = clead("--help").output.partition("Make a model:")[2].partition("Examples:")

    names = [line.split()[0] for line in listed.splitlines() if line.startswith("  ") and line[2] != " "]
    assert names == list(main.commands)
    assert [name for name in main.commands if f"clead {name}" in examples] == names
    assert len(examples.strip().splitlines()) == len(names), "an example was broken into lines"


@pytest.mark.parametrize(
    ("words", "meant"),
    [(["prob"], "probe"), (["probe", "x", "--step", "3"], "--steps"), (["keys", "knew"], "new")],
)
def test_what_is_mistyped_is_answered_with_the_nearest(clead: Clead, words: list[str], meant: str) -> None:
    result = clead(*words)

    assert result.exit_code == 2
    assert "Did you mean" in result.stderr
    assert f"'{meant}'" in result.stderr


def test_options_are_grouped_and_none_is_lost(clead: Clead) -> None:
    for command in main.commands.values():
        options = {
            option for parameter in command.params for option in parameter.opts if option.startswith("--")
        }
        text = clead(command.name or "", "--help").output
        assert options <= set(text.replace(",", " ").split()), command.name
    assert text.count("Options:") == 1
    probe = clead("probe", "--help").output
    assert probe.index("Question:") < probe.index("--eps") < probe.index("Attack:") < probe.index("--steps")


@pytest.mark.parametrize("also", [[], ["--traceback"]])
def test_ctrl_c_exits_with_130(clead: Clead, monkeypatch: pytest.MonkeyPatch, also: list[str]) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("engines.doctor.diagnose", interrupted)

    result = clead(*also, "doctor")

    assert result.exit_code == 130
    assert "stopped" in result.stderr
    assert result.stdout == ""


def test_version(clead: Clead) -> None:
    assert clead("--version").output == f"clead, version {__version__}\n"


@pytest.mark.parametrize("arguments", [["paint"], ["train"], ["probe", "photo.jpg", "--norm", "l7"]])
def test_a_wrong_command_line_exits_with_2(clead: Clead, arguments: list[str]) -> None:
    result = clead(*arguments)

    assert result.exit_code == 2
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    "arguments", [["train", "clead-cifar10-compact"], ["evaluate", "run"], ["export", "run", "--out", "x"]]
)
def test_without_torch_the_extra_is_named(arguments: list[str], tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "best.safetensors").touch()
    arguments = [str(tmp_path / word) if word in {"run", "x"} else word for word in arguments]
    arguments += ["--data-dir", str(tmp_path)]

    done = _python(
        "import sys\nsys.modules['torch'] = None\nfrom cli.main import main\n"
        f"main({arguments!r}, prog_name='clead')"
    )

    assert done.returncode == 1
    assert "clead-serve[train]" in done.stderr
    assert "Traceback" not in done.stderr


def test_traceback_shows_where_an_error_comes_from(tmp_path: Path) -> None:
    done = _python(
        "from cli.main import main\n"
        f"main(['--traceback', 'evaluate', 'nothing', '--data-dir', {str(tmp_path)!r}], prog_name='clead')"
    )

    assert "Traceback" in done.stderr
    assert "SubjectError" in done.stderr
