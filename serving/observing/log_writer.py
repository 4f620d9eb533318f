"""Lines to standard error, written by a thread: a reader of the log who stops reading stops nothing else, and
a disk that is full loses no line that was promised.
"""

from __future__ import annotations

import contextlib
import select
import threading
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from serving.observing import log_output

GATHERING_S = 0.05
MOST_LINES = 10_000
"""Lines that may wait; more are dropped and counted."""
MOST_BYTES = 8 * 1024 * 1024
"""That the lines which may be dropped take while they wait."""
MOST_PROMISED = 1_000
"""Lines with a promised place: those that wait, and those that are still to come."""
RETRY_S = 1.0
"""After so long a promised line that could not be written is tried again."""


class _Line(NamedTuple):
    text: bytes
    promised: bool


class LogWriter:
    """A bounded queue of lines and the thread that writes them. For any thread; nobody waits but in `flush`.

    A line that may wait is written together with what follows within GATHERING_S, for writing costs more than
    all else about a line; every other line at once, with those before it. What cannot be written is dropped,
    but for promised lines, which are tried until they are. One that was cut off is written again from its
    beginning, on a line of its own. Others write to the same place, and what they write may be cut off, too.

    Args:
        write: takes some bytes and says how many, as `os.write`; may block for as long as it likes. None:
            writes to standard error.
        is_within_line: where `write` is given, whether what was written there last, by whomever, ends within
            a line; None if nobody can say.
        on_drop: told how many lines were dropped, from any thread.
        most_lines: that wait without a promise.
        most_bytes: of the same.
        most_promised: promised places.
    """

    def __init__(
        self,
        *,
        write: Callable[[bytes], int] | None = None,
        is_within_line: Callable[[], bool | None] = lambda: False,
        on_drop: Callable[[int], None] = lambda _: None,
        most_lines: int = MOST_LINES,
        most_bytes: int = MOST_BYTES,
        most_promised: int = MOST_PROMISED,
    ) -> None:
        self._write = write or log_output.write_lines
        self._is_within_line = is_within_line if write else log_output.is_within_line
        self._on_drop = on_drop
        self._most_lines = most_lines
        self._most_bytes = most_bytes
        self._most_promised = most_promised
        self._lines: deque[_Line] = deque()
        self._promised = 0
        self._unpromised = self._unpromised_bytes = 0
        self._at_once = self._writing = self._hurried = False
        # What was written last may end within a line: another's as well, for theirs failed, too.
        self._failed = False
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def promise(self) -> bool:
        """Keeps a place for one line, to be put with `promised`; False when there is none."""
        with self._changed:
            kept = self._promised < self._most_promised
            self._promised += kept
        return kept

    def put(self, line: str, *, may_wait: bool = False, promised: bool = False) -> None:
        """Queues a line, without its line break. One without a promise is dropped where none may wait.

        Raises:
            RuntimeError: there is no thread, and none can be started.
        """
        # ASCII with the rest escaped: text taken from a request may hold lone surrogates.
        encoded = line.encode("ascii", "backslashreplace") + b"\n"
        with self._changed:
            length = 0 if promised else len(encoded)
            room = promised or (
                self._unpromised < self._most_lines and self._unpromised_bytes + length <= self._most_bytes
            )
            if room:
                self._start()
                self._lines.append(_Line(encoded, promised))
                self._unpromised += not promised
                self._unpromised_bytes += length
                self._at_once |= not may_wait
                # Else the thread is about to look.
                if self._at_once or len(self._lines) == 1:
                    self._changed.notify_all()
        if not room:
            self._on_drop(1)

    def flush(self, limit_s: float) -> bool:
        """Waits until all lines are written, for `limit_s` at most; whether they are."""
        with self._changed:
            self._at_once = bool(self._lines)
            self._hurried = self._at_once or self._writing
            self._changed.notify_all()
            return self._changed.wait_for(lambda: not self._lines and not self._writing, limit_s)

    def _start(self) -> None:
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="clead-log", daemon=True)
            thread.start()
            self._thread = thread

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._lines)
                self._changed.wait_for(lambda: self._at_once, GATHERING_S)
            while lines := self._next():
                if not self._are_written(lines):
                    self._pause()

    def _are_written(self, lines: list[_Line]) -> bool:
        """Writes lines; False if some are still to be written: they are the next again."""
        start = b"\n" if self._may_be_within_line(lines) else b""
        block = start + b"".join(line.text for line in lines)
        written, end = 0, len(start)
        # Nobody can be told of an error but by the count.
        with contextlib.suppress(Exception):
            while written < len(block):
                written += self._write(block[written:])
        self._failed = written < len(block)
        failed: list[_Line] = []
        for line in lines:
            end += len(line.text)
            if written < end:
                failed.append(line)
        again = [line for line in failed if line.promised]
        with self._changed:
            self._promised -= sum(line.promised for line in lines) - len(again)
            self._lines.extendleft(reversed(again))
        if len(again) < len(failed):
            self._on_drop(len(failed) - len(again))
        return not again

    def _may_be_within_line(self, lines: list[_Line]) -> bool:
        within = self._is_within_line()
        # An empty line is better than a promised one that nobody can read.
        return self._failed or (any(line.promised for line in lines) if within is None else within)

    def _pause(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._hurried, RETRY_S)
            self._hurried = False

    def _next(self) -> list[_Line]:
        """Lines that are written at once, so far as the workers' writes to one pipe do not mix (POSIX: up to
        PIPE_BUF bytes); none once all are written.
        """
        lines: list[_Line] = []
        # A line break may come first.
        length = 1
        with self._changed:
            while self._lines and (not lines or length + len(self._lines[0].text) <= select.PIPE_BUF):
                line = self._lines.popleft()
                self._unpromised -= not line.promised
                self._unpromised_bytes -= 0 if line.promised else len(line.text)
                length += len(line.text)
                lines.append(line)
            self._writing = bool(lines)
            if not lines:
                self._at_once = False
                self._changed.notify_all()
        return lines
