"""The queue of the log and its thread: what is written together, what is dropped, and what never is."""

from __future__ import annotations

import errno
import math
import select
import threading

import pytest

from serving.observing import log_writer
from serving.observing.log_writer import LogWriter


class Pipe:
    """What a writer writes to; takes nothing until it is read."""

    def __init__(self, *, read: bool) -> None:
        self.pieces: list[bytes] = []
        self.asked, self.read = threading.Event(), threading.Event()
        if read:
            self.read.set()

    def write(self, lines: bytes) -> int:
        self.asked.set()
        assert self.read.wait(60)
        self.pieces.append(lines)
        return len(lines)

    @property
    def lines(self) -> list[str]:
        return b"".join(self.pieces).decode().splitlines()


def _stalled(**options: int) -> tuple[LogWriter, Pipe, list[int]]:
    """A writer whose thread is stuck with the line `first`."""
    pipe, dropped = Pipe(read=False), list[int]()
    writer = LogWriter(write=pipe.write, on_drop=dropped.append, **options)
    writer.put("first")
    assert pipe.asked.wait(60)
    return writer, pipe, dropped


def test_lines_that_wait_are_bounded_in_bytes_as_well() -> None:
    writer, pipe, dropped = _stalled(most_bytes=100)
    assert writer.promise()
    writer.put("a" * 59)
    writer.put("b" * 40)
    writer.put("c" * 39)
    writer.put("promised" * 100, promised=True)
    writer.put("")
    assert sum(dropped) == 2
    pipe.read.set()
    assert writer.flush(60)
    writer.put("d" * 99)
    writer.put("e" * 100)
    assert writer.flush(60)
    assert pipe.lines == ["first", "a" * 59, "c" * 39, "promised" * 100, "d" * 99]
    assert sum(dropped) == 3


def test_lines_that_may_wait_are_written_with_the_next_that_may_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_writer, "GATHERING_S", 3600.0)
    pipe = Pipe(read=True)
    writer = LogWriter(write=pipe.write)
    for name in "abc":
        writer.put(name, may_wait=True)
    writer.put("now")
    assert pipe.asked.wait(60)
    assert writer.flush(60)
    assert pipe.pieces == [b"a\nb\nc\nnow\n"]


def test_lines_that_may_wait_are_written_although_nothing_follows() -> None:
    pipe = Pipe(read=True)
    LogWriter(write=pipe.write).put("alone", may_wait=True)
    assert pipe.asked.wait(60)


def test_what_is_too_much_for_a_stalled_reader_is_dropped_and_counted() -> None:
    writer, pipe, dropped = _stalled(most_lines=3)
    for number in range(5):
        writer.put(str(number), may_wait=number % 2 == 0)
    assert dropped == [1, 1]
    assert not writer.flush(0.01)
    pipe.read.set()
    assert writer.flush(60)
    assert pipe.lines == ["first", "0", "1", "2"]
    writer.put("after")
    assert writer.flush(60)
    assert (pipe.lines[-1], dropped) == ("after", [1, 1])


def test_a_promised_line_is_never_dropped_and_no_more_are_promised_than_there_is_room_for() -> None:
    writer, pipe, dropped = _stalled(most_lines=1, most_promised=2)
    assert [writer.promise() for _ in range(3)] == [True, True, False]
    for line in ("filling", "too many"):
        writer.put(line)
    writer.put("promised", promised=True)
    # Put, but not written: its place is still taken.
    assert not writer.promise()
    pipe.read.set()
    assert writer.flush(60)
    assert pipe.lines == ["first", "filling", "promised"]
    assert dropped == [1]
    assert [writer.promise() for _ in range(2)] == [True, False]


def test_a_write_that_fails_is_counted_and_the_next_one_is_tried() -> None:
    written, dropped = list[bytes](), list[int]()
    errors = [BrokenPipeError()]

    def write(lines: bytes) -> int:
        if errors:
            raise errors.pop()
        written.append(lines)
        return len(lines)

    writer = LogWriter(write=write, on_drop=dropped.append)
    for line in ("lost", "kept"):
        writer.put(line)
        assert writer.flush(60)
    # An empty line: nobody knows what became of the one before.
    assert (written, dropped) == ([b"\nkept\n"], [1])


class Disk:
    """What a writer writes to, with room for so many bytes; `tried` once it was full."""

    def __init__(self, room: float) -> None:
        self.room = room
        self.content = b""
        self.tried = threading.Event()

    def write(self, lines: bytes) -> int:
        taken = lines[: int(min(self.room, len(lines)))]
        if not taken:
            self.tried.set()
            raise OSError(errno.ENOSPC, "no space left on device")
        self.room -= len(taken)
        self.content += taken
        return len(taken)


def test_promised_lines_outlast_writes_that_fail_and_keep_their_places(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(log_writer, "RETRY_S", 0.001)
    disk, dropped, gone = Disk(0), list[int](), threading.Event()

    def drop(count: int) -> None:
        dropped.append(count)
        gone.set()

    writer = LogWriter(write=disk.write, on_drop=drop, most_promised=2)
    assert writer.promise() and writer.promise()
    writer.put("a", promised=True)
    writer.put("lost")
    writer.put("b", promised=True)
    assert gone.wait(60)
    assert not writer.flush(0.01)
    assert not writer.promise()
    disk.room = math.inf
    assert writer.flush(60)
    assert (disk.content, dropped) == (b"\na\nb\n", [1])
    assert [writer.promise() for _ in range(3)] == [True, True, False]


def test_who_flushes_does_not_wait_for_the_next_try(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_writer, "RETRY_S", 3600.0)
    disk = Disk(0)
    writer = LogWriter(write=disk.write)
    assert writer.promise()
    writer.put("a", promised=True)
    assert disk.tried.wait(60)
    disk.room = math.inf
    assert writer.flush(60)
    assert disk.content == b"\na\n"


@pytest.mark.parametrize(
    ("promised", "content"), [(True, b"whole\ncut\ncut off\nnext\n"), (False, b"whole\ncut\nnext\n")]
)
def test_a_line_that_was_cut_off_spoils_no_other(promised: bool, content: bytes) -> None:
    disk = Disk(len("whole\ncut"))
    writer = LogWriter(write=disk.write)
    assert writer.promise()
    writer.put("whole", may_wait=True)
    writer.put("cut off", promised=promised)
    assert disk.tried.wait(60)
    disk.room = math.inf
    writer.put("next")
    assert writer.flush(60)
    assert disk.content == content


def test_a_line_spoils_none_that_another_worker_has_had_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_writer, "RETRY_S", 3600.0)
    disk = Disk(len("cut"))
    workers = [LogWriter(write=disk.write) for _ in range(2)]
    for worker, line in zip(workers, ("cut off", "of another"), strict=True):
        assert worker.promise()
        worker.put(line, promised=True)
        assert disk.tried.wait(60)
        disk.tried.clear()
    disk.room = math.inf
    # The one whose line was not cut off comes first.
    for worker in reversed(workers):
        assert worker.flush(60)
    assert [line for line in disk.content.splitlines() if line] == [b"cut", b"of another", b"cut off"]


@pytest.mark.parametrize(
    ("within", "promised", "content"),
    [
        (False, True, b"line\n"),
        (True, False, b"\nline\n"),
        (True, True, b"\nline\n"),
        (None, False, b"line\n"),
        (None, True, b"\nline\n"),
    ],
)
def test_a_line_goes_on_with_none_that_was_cut_off_before(
    within: bool | None, promised: bool, content: bytes
) -> None:
    disk = Disk(math.inf)
    writer = LogWriter(write=disk.write, is_within_line=lambda: within)
    assert writer.promise()
    writer.put("line", promised=promised)
    assert writer.flush(60)
    assert disk.content == content


def test_promised_lines_that_failed_are_written_before_those_that_came_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(log_writer, "RETRY_S", 0.001)
    disk, asked, later = Disk(0), threading.Event(), threading.Event()

    def write(lines: bytes) -> int:
        asked.set()
        assert later.wait(60)
        return disk.write(lines)

    writer = LogWriter(write=write)
    assert all(writer.promise() for _ in range(3))
    writer.put("a", promised=True)
    assert asked.wait(60)
    for line in "bc":
        writer.put(line, promised=True)
    later.set()
    assert disk.tried.wait(60)
    disk.room = math.inf
    assert writer.flush(60)
    assert disk.content.split() == [b"a", b"b", b"c"]


def test_what_is_written_again_does_not_mix_with_the_lines_of_another_worker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(log_writer, "RETRY_S", 0.001)
    monkeypatch.setattr(log_writer, "GATHERING_S", 3600.0)
    pieces, failing = list[bytes](), [True]

    def write(lines: bytes) -> int:
        pieces.append(lines)
        if failing:
            failing.pop()
            raise OSError(errno.ENOSPC, "no space left on device")
        return len(lines)

    writer = LogWriter(write=write)
    assert all(writer.promise() for _ in range(4))
    for _ in range(4):
        # Together they fill a write to the byte.
        writer.put("a" * (select.PIPE_BUF // 4 - 1), promised=True, may_wait=True)
    assert writer.flush(60)
    assert all(len(piece) <= select.PIPE_BUF for piece in pieces)
    assert b"".join(pieces[1:]).split() == [b"a" * (select.PIPE_BUF // 4 - 1)] * 4


def test_lines_are_written_whole_and_in_writes_that_do_not_mix_with_those_of_another_worker() -> None:
    writer, pipe, _ = _stalled()
    for length in [100] * 100 + [2 * select.PIPE_BUF] + [100] * 3:
        writer.put("a" * length, may_wait=True)
    pipe.read.set()
    assert writer.flush(60)
    assert all(piece.endswith(b"\n") for piece in pipe.pieces)
    assert all(len(piece) <= select.PIPE_BUF or piece.count(b"\n") == 1 for piece in pipe.pieces)
    assert len(pipe.pieces) < 10
    assert len(pipe.lines) == 105
