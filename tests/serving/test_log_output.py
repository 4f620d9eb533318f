"""What the log is written to: a pipe whose reader is slow, and a file in which a line was cut off."""

from __future__ import annotations

import fcntl
import os
import select
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.observing.log_output import is_within_line, write_lines
from serving.observing.log_writer import LogWriter
from tests.serving.conftest import ROOT

LINES = [f"{number:03}" + "x" * 97 for number in range(200)]


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """Both ends of a pipe that holds a few lines and does not wait."""
    ends = os.pipe()
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        fcntl.fcntl(ends[1], fcntl.F_SETPIPE_SZ, select.PIPE_BUF)
    os.set_blocking(ends[1], False)
    yield ends
    for end in ends:
        os.close(end)


def test_a_pipe_that_does_not_wait_loses_no_line_to_a_reader_who_is_slow(pipe: tuple[int, int]) -> None:
    dropped, full = list[int](), threading.Event()

    def write(lines: bytes) -> int:
        if not select.select([], [pipe[1]], [], 0)[1]:
            full.set()
        return write_lines(lines, descriptor=pipe[1])

    writer = LogWriter(write=write, on_drop=dropped.append)
    for line in LINES:
        writer.put(line, may_wait=True)
    assert full.wait(60)
    seen = b""
    while seen.count(b"\n") < len(LINES):
        assert select.select([pipe[0]], [], [], 60)[0], dropped
        seen += os.read(pipe[0], select.PIPE_BUF)
    assert (seen.decode().splitlines(), dropped) == (LINES, [])


def test_a_pipe_that_nobody_will_read_is_not_waited_for() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with pytest.raises(BlockingIOError):
        while True:
            os.write(writing, b"filling\n")
    os.close(reading)
    with pytest.raises(BrokenPipeError):
        write_lines(b"line\n", descriptor=writing)
    os.close(writing)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="where the file can be looked at")
@pytest.mark.parametrize(
    ("content", "within"), [(b"", False), (b"whole\n", False), (b"whole\ncut", True), (b"c", True)]
)
def test_a_file_that_ends_within_a_line_is_known(tmp_path: Path, content: bytes, within: bool) -> None:
    (tmp_path / "log").write_bytes(content)
    with (tmp_path / "log").open("ab") as log:
        assert is_within_line(descriptor=log.fileno()) is within


def test_what_cannot_be_looked_at_is_not_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pipe: tuple[int, int]
) -> None:
    def refusing(*_: object) -> int:
        raise PermissionError

    with (tmp_path / "log").open("ab") as log:
        monkeypatch.setattr(os, "open", refusing)
        assert is_within_line(descriptor=log.fileno()) is None
        # In a pipe no line is cut off: nothing needs to be known.
        assert is_within_line(descriptor=pipe[1]) is False


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="where the file can be looked at")
def test_the_log_of_a_process_begins_after_the_line_that_another_has_left(tmp_path: Path) -> None:
    program = (
        "from serving.observing.log_writer import LogWriter; writer = LogWriter(); "
        "[(writer.put(line), writer.flush(60)) for line in 'ab']"
    )
    (tmp_path / "log").write_bytes(b"cut")
    with (tmp_path / "log").open("ab") as log:
        subprocess.run([sys.executable, "-c", program], cwd=ROOT, stderr=log, check=True)
    assert (tmp_path / "log").read_bytes() == b"cut\na\nb\n"
