"""Messages between a worker and the process that probes for it: a JSON object and some bytes, over a pipe."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Mapping
from typing import Any

_LENGTHS = struct.Struct("!II")


def write_frame(pipe: int, head: Mapping[str, Any], body: bytes = b"") -> None:
    """Writes one message to a file descriptor.

    Raises:
        OSError: nobody reads any more (BrokenPipeError), or the pipe is closed.
    """
    text = json.dumps(head).encode("ascii")
    for part in (_LENGTHS.pack(len(text), len(body)) + text, body):
        view = memoryview(part)
        while view:
            view = view[os.write(pipe, view) :]


def read_frame(pipe: int) -> tuple[dict[str, Any], bytes] | None:
    """Reads one message from a file descriptor; None at the end, also when a message is cut off by it."""
    lengths = _read(pipe, _LENGTHS.size)
    if lengths is None:
        return None
    head_length, body_length = _LENGTHS.unpack(lengths)
    head = _read(pipe, head_length)
    body = _read(pipe, body_length)
    return None if head is None or body is None else (json.loads(head), body)


def _read(pipe: int, length: int) -> bytes | None:
    parts = []
    while length:
        part = os.read(pipe, min(length, 1 << 20))
        if not part:
            return None
        parts.append(part)
        length -= len(part)
    return b"".join(parts)
