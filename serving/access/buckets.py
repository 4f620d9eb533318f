"""The token buckets of all keys, in one small file that the workers of a server share."""

from __future__ import annotations

import os
import struct
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from serving.access.quota import Draw, Quota, draw

IDENTITY_BYTES = 16
_TIME = struct.Struct("=q")
_RECORD_BYTES = IDENTITY_BYTES + _TIME.size


class Buckets:
    """Draws from the bucket of a key. For one thread of each process: file locks do not keep threads apart.

    The file holds a record for each key that has drawn: its identity, and when its bucket is full again
    (int64, nanoseconds). A record is locked while it is read and written; the kernel frees the locks of a
    process that dies. A record never moves and never goes.

    Args:
        path: the file, made if it is not there; None for buckets of this process alone.
        clock: nanoseconds on a clock that all processes of this machine share.
    """

    def __init__(self, path: Path | None, *, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._path = path
        self._clock = clock
        self._file: int | None = None
        self._times: dict[bytes, int] = {}

    def draw(self, identity: bytes, quota: Quota) -> Draw:
        """Draws one request from the bucket of the key with this identity (`IDENTITY_BYTES` bytes)."""
        # Not on Windows, where a server whose keys have no rates still works.
        import fcntl

        file = self._open()
        place = self._times.get(identity) or self._claim(file, identity)
        fcntl.lockf(file, fcntl.LOCK_EX, _TIME.size, place)
        try:
            before = _TIME.unpack(os.pread(file, _TIME.size, place))[0]
            drawn = draw(before, now=self._clock(), quota=quota)
            if not drawn.wait:
                os.pwrite(file, _TIME.pack(drawn.full_at), place)
        finally:
            fcntl.lockf(file, fcntl.LOCK_UN, _TIME.size, place)
        return drawn

    def close(self) -> None:
        """Closes the file; the next draw opens it again."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _open(self) -> int:
        if self._file is None:
            if self._path is None:
                self._file, name = tempfile.mkstemp(prefix="clead-buckets-")
                Path(name).unlink()
            else:
                self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        return self._file

    def _claim(self, file: int, identity: bytes) -> int:
        import fcntl

        fcntl.lockf(file, fcntl.LOCK_EX)
        try:
            records = os.fstat(file).st_size // _RECORD_BYTES
            content = os.pread(file, records * _RECORD_BYTES, 0)
            for start in range(0, len(content), _RECORD_BYTES):
                self._times[content[start : start + IDENTITY_BYTES]] = start + IDENTITY_BYTES
            if identity not in self._times:
                # The bucket of a key that was never seen is full.
                os.pwrite(file, identity + _TIME.pack(0), len(content))
                self._times[identity] = len(content) + IDENTITY_BYTES
        finally:
            fcntl.lockf(file, fcntl.LOCK_UN)
        return self._times[identity]
