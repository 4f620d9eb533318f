"""Locks on files: who holds one, who may, and what is left of it when the holder dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from serving.file_lock import is_locked, take_lock

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such locks")

HOLDER = """
import sys, time
from pathlib import Path
from serving.file_lock import take_lock
take_lock(Path(sys.argv[1]), exclusive=False)
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "lock"
    path.touch()
    return path


def test_a_lock_is_held_until_its_descriptor_is_closed(file: Path) -> None:
    assert not is_locked(file)
    descriptor = take_lock(file, exclusive=False)
    assert is_locked(file)
    os.close(descriptor)
    assert not is_locked(file)


def test_many_may_share_a_lock_but_none_is_alone_beside_them(file: Path) -> None:
    held = [take_lock(file, exclusive=False) for _ in range(2)]
    with pytest.raises(BlockingIOError):
        take_lock(file, exclusive=True)
    os.close(held.pop())
    assert is_locked(file)
    os.close(held.pop())
    os.close(take_lock(file, exclusive=True))


def test_whoever_asks_leaves_no_descriptor(file: Path) -> None:
    before = len(list(Path("/dev/fd").iterdir()))
    held = take_lock(file, exclusive=False)
    assert is_locked(file)
    os.close(held)
    assert not is_locked(file)
    assert len(list(Path("/dev/fd").iterdir())) == before


def test_the_lock_of_one_that_is_killed_is_free(file: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(file)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        assert is_locked(file)
        holder.send_signal(signal.SIGKILL)
    assert not is_locked(file)


def test_a_file_that_is_not_there_cannot_be_asked_for_its_lock(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        is_locked(tmp_path / "none")
