"""The values of metrics in files that the workers share: a disk that is full ends no worker."""

from __future__ import annotations

import logging
import os
import struct
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prometheus_client import values
from prometheus_client.mmap_dict import mmap_key

from serving.observing.request_log import LOGGER

FIRST_BYTES = 1 << 17
"""Of each file: room for the series of all routes. A file without room for another series is doubled."""
# As prometheus_client names the files of a process.
_KINDS = ("counter", "histogram", "gauge_livemax", "gauge_livesum")
# What an entry takes besides its key: a length, a padding, and two numbers.
_ENTRY_BYTES = 4 + 8 + 16
_USED = struct.Struct("i")


def keep_values_in(folder: Path) -> None:
    """Has the metrics that this process makes from now on keep their values in files in this folder.

    prometheus_client maps these files into memory and leaves them holes. A write into one ends the process
    (SIGBUS) where the disk has no room for it: here the room is taken before. A series that comes later, when
    there is none, is kept in memory, where no other process sees it.

    Raises:
        OSError: there is no room now. The values of this process are kept in memory, all of them.
    """
    values.ValueClass = values.MutexValue
    files = [_file(folder, kind) for kind in _KINDS]
    try:
        for file in files:
            _reserve(file, 0)
    except OSError:
        for file in files:
            file.unlink(missing_ok=True)
        raise
    values.ValueClass = _Values(folder)


class _Values:
    """What prometheus_client makes a value with: in a file that has room for it, else in memory."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._shared = values.MultiProcessValue()  # type: ignore[no-untyped-call]
        self._lock = threading.Lock()
        self._told = False

    def __call__(
        self,
        kind: str,
        metric: str,
        name: str,
        labels: Sequence[str],
        label_values: Sequence[str],
        text: str,
        multiprocess_mode: str = "",
    ) -> Any:
        described = (kind, metric, name, labels, label_values, text)
        key = mmap_key(metric, name, list(labels), list(label_values), text)
        file = _file(self._folder, f"{kind}_{multiprocess_mode}" if multiprocess_mode else kind)
        # Nobody else may take the room in between.
        with self._lock:
            try:
                _reserve(file, len(key.encode()) + _ENTRY_BYTES)
                return self._shared(*described, multiprocess_mode)
            except OSError as error:
                if not self._told:
                    logging.getLogger(LOGGER).warning("new series are left out of the metrics: %s", error)
                self._told = True
        return values.MutexValue(*described)  # type: ignore[no-untyped-call]


def _file(folder: Path, kind: str) -> Path:
    return folder / f"{kind}_{os.getpid()}.db"


def _reserve(file: Path, size: int) -> None:
    """Takes room on the disk for so many more bytes. The file doubles, as prometheus_client will have it.

    Raises:
        OSError: there is none; the file is as it was.
    """
    # Who collects never sees an empty file, which could not be read.
    made = file if file.exists() else file.with_suffix(".new")
    descriptor = os.open(made, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        there = os.fstat(descriptor).st_size
        used = _USED.unpack(os.pread(descriptor, _USED.size, 0))[0] if there else 0
        needed = there or FIRST_BYTES
        while needed < used + size:
            needed *= 2
        try:
            _fill(descriptor, there, needed)
        except OSError:
            os.ftruncate(descriptor, there)
            if not there:
                made.unlink()
            raise
    finally:
        os.close(descriptor)
    made.replace(file)


def _fill(descriptor: int, begin: int, end: int) -> None:
    while begin < end:
        begin += os.pwrite(descriptor, bytes(end - begin), begin)
