"""Private temporary folders that are known to be left behind once no process holds them any more."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path


def make_held_folder(prefix: str) -> Path:
    """A new folder, which this process holds for as long as it runs; whoever asks for it removes it.

    A process that was killed leaves its folder behind: those whose names begin with `prefix`, that are this
    user's and that nobody holds, are removed first.
    """
    for left in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        _remove_unless_held(left)
    while not hold(folder := Path(tempfile.mkdtemp(prefix=prefix))):
        pass
    return folder


def hold(folder: Path) -> bool:
    """Holds a folder, beside other processes, for as long as this one runs; False if it is not there."""
    if sys.platform == "win32":
        return folder.is_dir()
    import fcntl

    try:
        # Never closed: the kernel frees the lock when the process ends, however it does.
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return False
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    # Somebody may have taken it for one that was left, in the moment before it was locked.
    return folder.is_dir()


def _remove_unless_held(folder: Path) -> None:
    if sys.platform == "win32":
        return
    import fcntl

    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    # Gone, somebody else's, or no folder: anybody may write names to where temporary files are.
    except OSError:
        return
    try:
        if os.fstat(descriptor).st_uid == os.geteuid():
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
    except BlockingIOError:
        return
    finally:
        os.close(descriptor)
