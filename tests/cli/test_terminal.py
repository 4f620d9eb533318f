"""Commands on a real (pseudo-)terminal: what is drawn there, what is not, and how Ctrl-C ends them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Clead
from tests.serving.color_bundle import write_color_bundle

if sys.platform == "win32":
    pytest.skip("pseudo-terminals are POSIX", allow_module_level=True)

from tests.cli.pseudo_terminal import ROOT, on_a_terminal

EPS = ("--eps", "10/255,30/255", "--steps", "5", "--restarts", "1")
BRAILLE = {chr(code) for code in range(0x2801, 0x2900)}


def test_a_capable_terminal_shows_verdict_then_table_then_pictures_and_margin(
    color_models: Path, reddish: Path
) -> None:
    seen = on_a_terminal(
        "probe",
        reddish,
        "--models-dir",
        color_models,
        *EPS,
        columns=100,
        variables={"COLORTERM": "truecolor"},
    )
    lines = [line for line in seen.stays.splitlines() if line.strip()]

    assert seen.exit_code == 0, seen.stays
    assert lines[0] == "Holds up to 10/255; within 30/255 it becomes a green."
    assert "is no proof" in lines[1]
    order = [seen.stays.index(text) for text in ("worst answer", "checks passed", "▀", "margin: attack")]
    assert order == sorted(order)
    # The picture is 8x8, enlarged four times over: the colour of its pixels, in 24 bits.
    assert "38;2;140;100;60" in seen.raw
    assert lines[-1].endswith("eps 30/255")
    assert any(line.count("▀") == 3 * 32 for line in lines)
    assert BRAILLE & set(seen.stays)
    assert "attacking" in seen.raw and "attacking" not in seen.stays


def test_a_dumb_terminal_gets_plain_lines(color_models: Path) -> None:
    seen = on_a_terminal("models", "--models-dir", color_models, columns=60, variables={"TERM": "dumb"})

    assert seen.exit_code == 0, seen.stays
    assert "colors/1 *" in seen.stays
    assert "\x1b" not in seen.raw


def test_ctrl_c_ends_a_probe_with_130_and_leaves_nothing_behind(
    color_models: Path, reddish: Path, tmp_path: Path
) -> None:
    adversarial = tmp_path / "adversarial.png"
    endless = ("--steps", "100000", "--restarts", "1000", "--eps", "1/255", "--deadline", "100")
    seen = on_a_terminal(
        "probe",
        reddish,
        *("--models-dir", color_models, *endless, "--adversarial", adversarial),
        columns=80,
        variables={},
        interrupt_at="attacking",
    )

    assert seen.exit_code == 130, seen.stays
    assert seen.stays.splitlines()[-1] == "stopped; nothing was written"
    assert seen.raw.rindex("\x1b[?25h") > seen.raw.rindex("\x1b[?25l"), "the cursor is still hidden"
    assert "Traceback" not in seen.raw
    assert list(tmp_path.iterdir()) == [reddish]


def test_a_pipe_gets_a_picture_only_if_it_asks(clead: Clead, color_models: Path, reddish: Path) -> None:
    arguments = ("probe", reddish, "--models-dir", color_models, *EPS)
    plain, drawn = clead(*arguments), clead(*arguments, "--picture")

    assert not (BRAILLE | {"▀", "\x1b"}) & set(plain.stdout)
    assert plain.stderr == ""
    assert drawn.exit_code == 0, drawn.output
    assert "38;2;140;100;60" in drawn.stdout and "▀" in drawn.stdout


def test_a_picture_is_refused_where_there_are_no_characters_for_it(
    clead: Clead, color_models: Path, reddish: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rich.console.Console.encoding", "ascii")

    refused = clead("probe", reddish, "--models-dir", color_models, *EPS, "--picture")
    plain = clead("probe", reddish, "--models-dir", color_models, *EPS)

    assert (refused.exit_code, "use UTF-8" in refused.stderr) == (2, True)
    assert plain.exit_code == 0, plain.output
    assert plain.stdout.isascii()


def test_what_an_encoding_lacks_is_escaped(tmp_path: Path) -> None:
    write_color_bundle(tmp_path / "röt")
    arguments = ["models", "colors", "--models-dir", str(tmp_path / "röt")]
    done = subprocess.run(
        [sys.executable, "-c", f"from cli.main import main; main({arguments!r})"],
        cwd=ROOT,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert str(tmp_path / "r\\xf6t") in done.stdout
