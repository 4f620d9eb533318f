"""The file of a benchmark's figures: refused before anything is measured, without torch."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.figures_file import add_json_option, check_json_option, write_figures

ROOT = Path(__file__).resolve().parents[2]


def _checked(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_json_option(parser)
    parsed = parser.parse_args(arguments)
    check_json_option(parsed, parser)
    return parsed


def test_the_figures_are_written_if_that_was_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"

    write_figures(_checked("--json", str(file)), {"per_second": 1.5})
    write_figures(_checked(), {"nobody": "asked"})

    written = json.loads(file.read_text())
    assert written["per_second"] == 1.5
    assert {"cpu", "cores", "commit"} <= set(written["provenance"])
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("name", ["nowhere/figures.json", "."])
def test_what_cannot_be_written_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    with pytest.raises(SystemExit) as caught:
        _checked("--json", str(tmp_path / name))

    assert caught.value.code == 2
    assert f"--json {tmp_path / name}" in capsys.readouterr().err


def test_benchmarks_of_the_server_refuse_at_once_and_need_no_torch(tmp_path: Path) -> None:
    file = str(tmp_path / "nowhere" / "figures.json")
    code = (
        "import contextlib, runpy, sys\nsys.modules['torch'] = None\n"
        f"sys.argv = ['benchmark', 'image.png', '--json', {file!r}]\n"
        "for name in ('overload', 'serving_load'):\n"
        "    with contextlib.suppress(SystemExit):\n"
        "        runpy.run_module(f'benchmarks.{name}', run_name='__main__')"
    )

    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.stderr.count(f"--json {file}: its folder does not exist") == 2, done.stderr
