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
    assert "..." not in overview.output.partition("Commands:")[2]
    assert f"clead {command}" in detail.output


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
