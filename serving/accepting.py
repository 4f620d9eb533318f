"""Which workers take new connections, so that one that is told to stop knows whether the whole server does.

Each worker holds a shared lock on a file from its start until it is told to stop. The kernel releases the
lock of one that dies, so a lock of its own tells the one who asks that no worker goes on.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from serving.file_lock import is_locked, take_lock

_FILE = "accepting"


def make_accepting_file(folder: Path) -> None:
    """Makes the file, before there are workers: one that starts later may find the disk full.

    Raises:
        OSError: it cannot be made.
    """
    (folder / _FILE).touch(mode=0o600)


class Accepting:
    """Whether this worker, and any other, takes new connections.

    Args:
        folder: of the workers of this server, where `make_accepting_file` has been; None: there is no other
            worker.
    """

    def __init__(self, folder: Path | None) -> None:
        self._file = None if folder is None else folder / _FILE
        self._lock: int | None = None

    def begin(self) -> None:
        """This worker takes connections."""
        if self._lock is not None or self._file is None:
            return
        # The folder goes when the server ends.
        with suppress(FileNotFoundError):
            # Waits, for somebody may be asking.
            self._lock = take_lock(self._file, exclusive=False, wait=True)

    def end(self) -> None:
        """This worker takes none any more."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def has_ended_everywhere(self) -> bool:
        """Whether no worker takes connections any more."""
        if self._file is None:
            return True
        try:
            return not is_locked(self._file)
        except FileNotFoundError:
            return True
        # No descriptor is left: the next look will tell.
        except OSError:
            return False
