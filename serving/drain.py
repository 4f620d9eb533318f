"""Draining: a file that tells every worker that the server is about to stop, and says when no work is left.

Whoever makes the file begins the draining; its modification time is when. From then on the workers are not
ready, and after a grace they refuse new work. Each holds a shared lock on the file for as long as it takes
or has work. The kernel releases the lock of one that dies, and a worker that starts meanwhile finds the file,
so a lock of its own tells the one who drains that every worker has finished.
"""

from __future__ import annotations

import atexit
import math
import os
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

from serving.file_lock import is_locked, take_lock

LOOK_S = 0.1
"""Seconds between a worker's looks at the file."""
_TRIES = 10


class Drain:
    """A worker's view of the file.

    Attributes:
        begun: the server is about to stop: it is not ready any more, and still answers new work.
        over: the grace is over: new work is refused.
        finished: and this worker has no work any more.

    A drain is not taken back, for whoever began it will stop the server.

    Args:
        file: the file; None: this server cannot be told.
        grace_s: seconds from the beginning until new work is refused.
    """

    def __init__(self, file: Path | None, *, grace_s: float) -> None:
        self.begun = self.over = self.finished = False
        self._file = file
        self._grace_s = grace_s
        self._lock: int | None = None
        self._stopping = False
        self._since: float | None = None

    def stop(self) -> None:
        """The server stops now, whether or not it was announced by the file."""
        self.begun = self._stopping = True

    def look(self, *, busy: bool) -> None:
        """Learns what there is to learn from the file, once it exists.

        Args:
            busy: whether this worker has work that was admitted.
        """
        if self._file is not None and (made := _made_at(self._file)) is not None:
            # Who touches it again, or has a clock that is ahead, does not have new work let in again.
            self._since = min(made, time.time(), self._since or math.inf)
        refusing = self._refusing_s()
        self.begun = self._stopping or refusing is not None
        self.over = refusing is not None and refusing >= 0
        self.finished = self.over and not busy
        if refusing is None or self.finished:
            self.close()
        else:
            self._hold()

    def work_left_s(self, longest_s: float) -> float:
        """How long work of this worker may still take, if none takes longer than `longest_s` from the moment
        in which it is let in.
        """
        if self.finished:
            return 0.0
        return max(0.0, longest_s - (self._refusing_s() or 0.0)) if self.over else longest_s

    def close(self) -> None:
        """Releases the lock."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _refusing_s(self) -> float | None:
        return None if self._since is None else time.time() - self._since - self._grace_s

    def _hold(self) -> None:
        if self._lock is None and self._file is not None:
            with suppress(OSError):
                self._lock = take_lock(self._file, exclusive=False)


def claim(file: Path) -> bool:
    """Makes the server of this process the one that the file drains, until the process ends; False while it
    is another's, which would be drained with it. True as well where the folder takes no files.
    """
    if sys.platform == "win32":
        return True
    beside = file.with_name(f".{file.name}.server")
    for _ in range(_TRIES):
        try:
            # Never closed: the lock lasts as long as the process.
            lock = take_lock(beside, exclusive=True, flags=os.O_CREAT | os.O_NOFOLLOW)
        except BlockingIOError:
            return False
        except OSError:
            return True
        if _leads_to(beside, lock):
            atexit.register(beside.unlink, missing_ok=True)
            return True
        # Whoever had it has ended meanwhile, and removed it: a third server would not find this one.
        os.close(lock)
    return True


def begin_draining(file: Path) -> None:
    """Makes the file. Where it exists the draining has begun already, and nothing changes.

    Raises:
        OSError: it cannot be made.
    """
    if not file.exists():
        file.touch(mode=0o600)


def end_draining(file: Path) -> None:
    """Removes the file, if it is there; to be called before there are workers, or once all have ended."""
    file.unlink(missing_ok=True)


def all_finished(file: Path) -> bool:
    """Whether no worker has work any more. Only to be asked once every worker has seen the file."""
    try:
        return not is_locked(file)
    except OSError:
        return False


def drain_server(file: Path, ended: threading.Event, *, grace_s: float, limit_s: float) -> None:
    """Has a server drain, and returns once none of its workers has work any more.

    Args:
        ended: set when the server has ended; nothing is waited for then.
        grace_s: how long the server answers new work, from the beginning of the draining.
        limit_s: how long its work is waited for after that.

    Raises:
        OSError: the file cannot be made.
    """
    begin_draining(file)
    made = _made_at(file)
    rest_s = grace_s if made is None else min(grace_s, max(0.0, grace_s - (time.time() - made)))
    # A worker has found the file, and locked it, before anybody asks whether one has.
    if ended.wait(rest_s + 2 * LOOK_S):
        return
    for _ in range(round(limit_s / LOOK_S)):
        if all_finished(file) or ended.wait(LOOK_S):
            return


def _leads_to(file: Path, descriptor: int) -> bool:
    """Whether the file is the one that is open there."""
    try:
        return os.path.samestat(file.lstat(), os.fstat(descriptor))
    except OSError:
        return False


def _made_at(file: Path) -> float | None:
    """When the file was made or touched, in seconds of `time.time`; None when there is none."""
    try:
        return file.stat().st_mtime
    except OSError:
        return None
