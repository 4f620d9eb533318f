"""Multipart bodies: they need no disk."""

from __future__ import annotations

import asyncio
import errno
import tempfile

import pytest
from starlette.requests import Request
from starlette.types import Message

from serving.uploads.body import read_upload
from tests.serving.asking import form

IMAGES = [bytes([number]) * (3 << 20) for number in range(2)]
CHUNK_BYTES = 1 << 16


def test_a_large_multipart_body_is_read_although_the_disk_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    for name in ("TemporaryFile", "NamedTemporaryFile", "mkstemp"):
        monkeypatch.setattr(tempfile, name, full)
    body, content_type = form([("image", f"{number}.png", image) for number, image in enumerate(IMAGES)])
    chunks = [body[start : start + CHUNK_BYTES] for start in range(0, len(body), CHUNK_BYTES)]

    async def receive() -> Message:
        chunk = chunks.pop(0)
        return {"type": "http.request", "body": chunk, "more_body": bool(chunks)}

    scope = {"type": "http", "method": "POST", "headers": [(b"content-type", content_type.encode())]}
    reading = read_upload(Request(scope, receive), max_bytes=len(body), max_images=2, deadline_s=60)
    assert list(asyncio.run(reading).images) == IMAGES
