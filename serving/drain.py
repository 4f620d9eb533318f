"""Draining: a file that tells every worker that the server is about to stop, and says when no work is left.

Whoever makes the file begins the draining; its modification time is when. From then on the workers are not
ready, and after a grace they refuse new work. Each holds a shared lock on the file for as long as it takes
or has work. The kernel releases the lock of one that dies, and a worker that starts meanwhile finds the file,
so a lock of its own tells the one who drains that every worker has finished.
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

LOOK_S = 0.1
"""Seconds between a worker's looks at the file."""


class Drain:
    """A worker's view of the file.

    Attributes:
        begun: the server is about to stop: it is not ready any more, and still answers new work.
        over: the grace is over: new work is refused.

    Args:
        file: the file; None: this server cannot be told.
        grace_s: seconds from the beginning until new work is refused.
    """

    def __init__(self, file: Path | None, *, grace_s: float) -> None:
        self.begun = self.over = False
        self._file = file
        self._grace_s = grace_s
        self._lock: int | None = None
        self._stopping = False

    def stop(self) -> None:
        """The server stops now, whether or not it was announced by the file."""
        self.begun = self._stopping = True

    def look(self, *, busy: bool) -> None:
        """Learns what there is to learn from the file, once it exists or is gone again.

        Args:
            busy: whether this worker has work that was admitted.
        """
        age = None if self._file is None else _age_s(self._file)
        self.begun = self._stopping or age is not None
        self.over = age is not None and age >= self._grace_s
        if age is not None and (busy or not self.over):
            self._hold()
        else:
            self.close()

    def close(self) -> None:
        """Releases the lock."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _hold(self) -> None:
        if self._lock is None and self._file is not None:
            self._lock = _locked(self._file, exclusive=False)


def begin_draining(file: Path) -> None:
    """Makes the file. Where it exists the draining has begun already, and nothing changes.

    Raises:
        OSError: it cannot be made.
    """
    if not file.exists():
        file.touch(mode=0o600)


def end_draining(file: Path) -> None:
    """Removes the file, if it is there: the workers are ready again."""
    file.unlink(missing_ok=True)


def all_finished(file: Path) -> bool:
    """Whether no worker has work any more. Only to be asked once every worker has seen the file."""
    if (lock := _locked(file, exclusive=True)) is None:
        return False
    os.close(lock)
    return True


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
    rest_s = max(0.0, grace_s - (_age_s(file) or 0.0))
    # A worker has found the file, and locked it, before anybody asks whether one has.
    if ended.wait(rest_s + 2 * LOOK_S):
        return
    for _ in range(round(limit_s / LOOK_S)):
        if all_finished(file) or ended.wait(LOOK_S):
            return


def _age_s(file: Path) -> float | None:
    """Seconds since the file was made or touched; None when there is none."""
    try:
        return time.time() - file.stat().st_mtime
    except OSError:
        return None


def _locked(file: Path, *, exclusive: bool) -> int | None:
    """A descriptor that holds a lock on the file until it is closed; None when that cannot be had now."""
    import fcntl

    try:
        descriptor = os.open(file, os.O_RDWR)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor
