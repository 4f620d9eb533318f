"""A lock on a file between processes, which the kernel releases when its holder ends, however it does."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def take_lock(file: Path, *, exclusive: bool, wait: bool = False, flags: int = 0) -> int:
    """A descriptor that holds a lock on the file until it is closed. Windows has no such lock: there the
    descriptor stands for itself.

    Args:
        exclusive: nobody else may hold one; otherwise many may, none of them exclusive.
        wait: until it can be had.
        flags: of `os.open`, besides those for reading and writing.

    Raises:
        BlockingIOError: others hold a lock, and it is not to be waited for.
        OSError: the file cannot be opened, or takes no locks.
    """
    descriptor = os.open(file, os.O_RDWR | flags, 0o600)
    if sys.platform != "win32":
        import fcntl

        kind = fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH
        try:
            fcntl.flock(descriptor, kind if wait else kind | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            raise
    return descriptor


def is_locked(file: Path) -> bool:
    """Whether anybody holds a lock on the file.

    Raises:
        OSError: the file cannot be opened, or takes no locks.
    """
    try:
        os.close(take_lock(file, exclusive=True))
    except BlockingIOError:
        return True
    return False
