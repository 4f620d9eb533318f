"""Folders of processes that were killed are removed, and no others."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from serving.held_folder import hold, make_held_folder
from serving.shared_folder import PREFIX, VARIABLE, make_shared_folder, shared_folder
from tests.serving.conftest import ROOT

MAKE = (
    "from serving.shared_folder import make_shared_folder; print(make_shared_folder(), flush=True); input()"
)
HOLD = "from serving.shared_folder import shared_folder; print(shared_folder(), flush=True); input()"


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv(VARIABLE, "")
    return tmp_path


def _process(script: str, **variables: str) -> tuple[subprocess.Popen[str], Path]:
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={**os.environ, **variables},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def _end(process: subprocess.Popen[str], number: signal.Signals) -> None:
    process.send_signal(number)
    process.communicate()


def test_the_folder_of_a_killed_server_goes_once_its_last_worker_has_ended() -> None:
    server, folder = _process(MAKE)
    (folder / "buckets").write_bytes(b"0")
    worker, known = _process(HOLD, **{VARIABLE: str(folder)})
    assert known == folder

    make_held_folder(PREFIX)
    assert folder.is_dir()
    _end(server, signal.SIGKILL)
    make_held_folder(PREFIX)
    assert (folder / "buckets").exists()
    _end(worker, signal.SIGKILL)
    make_held_folder(PREFIX)
    assert not folder.exists()


def test_what_is_not_a_folder_of_ours_stays(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other, file, target = temporary / "other", temporary / f"{PREFIX}file", temporary / "target"
    for folder in (other, target):
        folder.mkdir()
    file.touch()
    link = temporary / f"{PREFIX}link"
    link.symlink_to(target)

    make_held_folder(PREFIX)
    assert other.is_dir() and file.exists() and link.is_symlink() and target.is_dir()

    somebodys = temporary / f"{PREFIX}somebodys"
    somebodys.mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: somebodys.stat().st_uid + 1)
    make_held_folder(PREFIX)
    assert somebodys.is_dir()


def test_a_folder_taken_away_before_it_was_locked_is_made_again(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, made = tempfile.mkdtemp, list[Path]()

    def mkdtemp(*, prefix: str) -> str:
        folder = Path(make(prefix=prefix))
        made.append(folder)
        if len(made) == 1:
            folder.rmdir()
        return str(folder)

    monkeypatch.setattr(tempfile, "mkdtemp", mkdtemp)

    assert make_held_folder(PREFIX) == made[1]
    assert made[1].is_dir()


def test_only_a_worker_of_a_server_has_a_shared_folder(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert shared_folder() is None
    monkeypatch.setenv(VARIABLE, str(temporary / "gone"))
    assert shared_folder() is None
    assert not hold(temporary / "gone")
    folder = make_shared_folder()
    assert shared_folder() == folder
