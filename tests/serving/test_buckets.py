"""Buckets that several processes draw from."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from serving.access.buckets import IDENTITY_BYTES, Buckets
from serving.access.quota import Quota
from tests.serving.conftest import ROOT

ALICE, BOB = b"a" * IDENTITY_BYTES, b"b" * IDENTITY_BYTES
QUOTA = Quota(requests=1, period_s=3600, burst=100)
DRAW_ALL = """
import sys
from pathlib import Path
from serving.access.buckets import Buckets
from serving.access.quota import Quota
buckets, quota = Buckets(Path(sys.argv[1])), Quota(requests=1, period_s=3600, burst=10000)
print("ready", flush=True)
sys.stdin.readline()
print(sum(buckets.draw(b"a" * 16, quota).wait == 0 for _ in range(10000)))
"""
DIE_WITH_THE_LOCK = """
import fcntl, os, signal, sys
from pathlib import Path
from serving.access import buckets
from serving.access.quota import Quota
def die():
    os.kill(os.getpid(), signal.SIGKILL)
held = buckets.Buckets(Path(sys.argv[1]), clock=die)
held.draw(b"a" * 16, Quota(requests=1, period_s=3600, burst=100))
"""


def _python(code: str, path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, str(path)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "buckets"


def _granted(buckets: Buckets, identity: bytes, times: int) -> int:
    return sum(buckets.draw(identity, QUOTA).wait == 0 for _ in range(times))


def test_two_processes_that_draw_at_once_get_one_burst_together(path: Path) -> None:
    processes = [_python(DRAW_ALL, path) for _ in range(2)]
    for process in processes:
        assert process.stdout is not None and process.stdin is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()

    granted = [int(process.communicate(timeout=60)[0]) for process in processes]

    assert sum(granted) == 10_000
    assert [process.returncode for process in processes] == [0, 0]


def test_a_process_that_dies_with_the_lock_leaves_neither_lock_nor_loss(path: Path) -> None:
    buckets = Buckets(path)
    assert _granted(buckets, ALICE, 3) == 3

    process = _python(DIE_WITH_THE_LOCK, path)
    process.communicate(timeout=60)

    assert process.returncode == -signal.SIGKILL
    assert _granted(buckets, ALICE, 100) == 97
    buckets.close()


def test_each_key_has_its_own_bucket_and_finds_it_again(path: Path) -> None:
    first, second = Buckets(path), Buckets(path)

    assert _granted(first, ALICE, 200) == 100
    assert _granted(second, BOB, 40) == 40
    # The first has not seen Bob yet, and the second not Alice.
    assert _granted(first, BOB, 200) == 60
    assert _granted(second, ALICE, 1) == 0
    for buckets in (first, second):
        buckets.close()
    assert _granted(first, BOB, 1) == 0
    first.close()


def test_half_a_record_at_the_end_is_written_over(path: Path) -> None:
    path.write_bytes(b"torn")
    buckets = Buckets(path)

    assert _granted(buckets, ALICE, 101) == 100
    assert path.stat().st_size == IDENTITY_BYTES + 8
    buckets.close()


def test_the_file_is_private(path: Path) -> None:
    buckets = Buckets(path)
    buckets.draw(ALICE, QUOTA)

    assert path.stat().st_mode & 0o077 == 0
    buckets.close()


def test_a_server_without_a_folder_keeps_its_buckets_to_itself() -> None:
    first, second = Buckets(None), Buckets(None)

    assert _granted(first, ALICE, 200) == 100
    assert _granted(second, ALICE, 1) == 1
    for buckets in (first, second):
        buckets.close()


def test_time_refills_what_was_drawn(path: Path) -> None:
    now = 10**12
    buckets = Buckets(path, clock=lambda: now)
    assert _granted(buckets, ALICE, 101) == 100

    now += 2 * QUOTA.interval_ns

    assert _granted(buckets, ALICE, 5) == 2
    buckets.close()
