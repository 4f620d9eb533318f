"""The keys in force: those of the settings, and those of a file that is read again whenever it changes."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from serving.access.keys import KeyRing, KeysError, parse_entry, parse_lines
from serving.observing.request_log import LOGGER

LOOK_S = 0.5
"""Seconds between looks at the file. A change counts once it has lasted from one look to the next."""
MAX_BYTES = 16 * 1024 * 1024
_LOG = logging.getLogger(LOGGER)
_Stamp = tuple[int, int, int, int]


class WatchedKeys:
    """Holds `ring`, which is replaced as a whole. A file that cannot be used changes nothing: the keys stay.

    Args:
        entries: the keys of the settings.
        file: the keys file, if there is one.
        copy: where the last usable content of the file is kept for workers that start while it is broken.
        on_fault: told whether the file, as it is now, cannot be used.

    Raises:
        KeysError: the file cannot be used, and there is no copy of an earlier one.
    """

    def __init__(
        self,
        entries: Sequence[str],
        file: Path | None,
        *,
        copy: Path | None = None,
        on_fault: Callable[[bool], None] = lambda _: None,
    ) -> None:
        self._entries = tuple(parse_entry(entry) for entry in entries)
        self._file = file
        self._copy = copy
        self._on_fault = on_fault
        self._fault: str | None = None
        self._taken = self._seen = self._stamp()
        if file is None:
            self.ring = KeyRing(self._entries)
            return
        try:
            self.ring = self._read(file)
        except KeysError as error:
            if copy is None or not copy.exists():
                raise
            self.ring = self._read(copy)
            self._complain(str(error))

    async def watch(self) -> None:
        """Looks at the file for as long as the server runs."""
        while self._file is not None:
            await asyncio.sleep(LOOK_S)
            try:
                # In a thread, for a file on a network may keep one waiting.
                await asyncio.to_thread(self.look)
            # Whatever it was, the next look may succeed, and meanwhile a key may have been revoked.
            except Exception as error:
                self._complain(f"the keys file could not be looked at: {error}")

    def look(self) -> None:
        """Takes up a file that has changed and is at rest."""
        if self._file is None:
            return
        stamp = self._stamp()
        at_rest, self._seen = stamp == self._seen, stamp
        if not at_rest or (stamp == self._taken and self._fault is None):
            return
        try:
            self.ring = self._read(self._file)
        except KeysError as error:
            self._complain(str(error))
            return
        self._taken, self._fault = stamp, None
        self._on_fault(False)
        _LOG.info("keys file taken up", extra={"fields": {"keys": len(self.ring)}})

    def _read(self, file: Path) -> KeyRing:
        try:
            with file.open("rb") as source:
                content = source.read(MAX_BYTES + 1)
            if len(content) > MAX_BYTES:
                raise KeysError(f"it is larger than {MAX_BYTES} bytes")
            keys = parse_lines(content.decode())
            if not keys:
                raise KeysError("it holds no key, and a server with a keys file is never open to everybody")
            ring = KeyRing([*self._entries, *keys])
        except (OSError, UnicodeDecodeError) as error:
            raise KeysError(f"keys_file {file} cannot be read: {error}") from None
        except KeysError as error:
            raise KeysError(f"keys_file {file}: {error}") from None
        if self._copy is not None and file != self._copy:
            # Without the copy this server works as before; it only starts no worker while the file is broken.
            with suppress(OSError):
                _write_whole(self._copy, content)
        return ring

    def _complain(self, fault: str) -> None:
        self._on_fault(True)
        if fault != self._fault:
            _LOG.error("keys file not taken up, the keys stay as they were: %s", fault)
        self._fault = fault

    def _stamp(self) -> _Stamp | None:
        if self._file is None:
            return None
        try:
            status = self._file.stat()
        except OSError:
            return None
        return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _write_whole(path: Path, content: bytes) -> None:
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    partial.write_bytes(content)
    partial.chmod(0o600)
    partial.replace(path)
