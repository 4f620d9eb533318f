"""Reading a request body: counted while it streams, in time, as raw bytes or as multipart."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import TypeVar

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message, Receive

from serving.problems import Problem
from serving.uploads.images import MEDIA_TYPES

RAW_TYPES = (*MEDIA_TYPES, "image/jpg", "application/octet-stream")
MULTIPART = "multipart/form-data"
IMAGE_PART = "image"
MAX_FIELDS = 64
MAX_FIELD_BYTES = 4096
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """What a body held: the files named `image`, and the other form fields in order."""

    images: tuple[bytes, ...]
    fields: tuple[tuple[str, str], ...] = ()


async def read_upload(request: Request, *, max_bytes: int, max_images: int, deadline_s: float) -> Upload:
    """Reads the images in the body of a request for /classify or /probe.

    Raises:
        Problem: unsupported_media_type and body_too_large (both before reading when the headers tell),
            body_timeout, malformed_multipart, too_many_images, image_missing, empty_body.
        ClientDisconnect: the client has gone.
    """
    if _media_type(request) == MULTIPART:
        counted = Request(request.scope, _counted(request, max_bytes))
        return await _in_time(_multipart(counted, max_images), deadline_s)
    data = await read_body(request, max_bytes=max_bytes, deadline_s=deadline_s)
    if not data:
        raise Problem("empty_body", "send the bytes of a PNG, JPEG or WebP image as the body")
    return Upload(images=(data,))


async def read_body(request: Request, *, max_bytes: int, deadline_s: float) -> bytes:
    """Reads a body as it is.

    Raises:
        Problem: body_too_large (before reading when the headers tell) or body_timeout.
        ClientDisconnect: the client has gone.
    """
    return await _in_time(_whole(_counted(request, max_bytes)), deadline_s)


def body_too_large(max_bytes: int) -> Problem:
    """The problem of a body of more than `max_bytes`."""
    return Problem(
        "body_too_large",
        f"at most {max_bytes} bytes are accepted: send fewer or smaller images",
        limit=max_bytes,
    )


async def _in_time(reading: Awaitable[T], deadline_s: float) -> T:
    try:
        async with asyncio.timeout(deadline_s):
            return await reading
    except TimeoutError:
        raise Problem(
            "body_timeout",
            f"the body did not arrive within {deadline_s:g} s: send it again, or a smaller one",
        ) from None


def _media_type(request: Request) -> str:
    declared = request.headers.get("content-type", "application/octet-stream")
    media_type = declared.split(";")[0].strip().lower()
    accepted = (*RAW_TYPES, MULTIPART)
    if media_type not in accepted:
        raise Problem(
            "unsupported_media_type",
            f"the content type is {media_type!r}; send the image itself as {', '.join(MEDIA_TYPES)} or "
            f"application/octet-stream, or {MULTIPART} with a file named '{IMAGE_PART}'",
            accepted=list(accepted),
        )
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", ""):
        raise Problem(
            "unsupported_media_type",
            f"the content encoding is {encoding!r}; send the body without Content-Encoding",
            headers={"Accept-Encoding": "identity"},
        )
    return media_type


def _counted(request: Request, max_bytes: int) -> Receive:
    """The messages of a request, which is refused as soon as its body turns out to be larger."""
    declared = request.headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and int(declared) > max_bytes:
        raise body_too_large(max_bytes)
    seen = 0

    async def counting() -> Message:
        nonlocal seen
        message = await request.receive()
        seen += len(message.get("body", b""))
        if seen > max_bytes:
            raise body_too_large(max_bytes)
        return message

    return counting


async def _whole(receive: Receive) -> bytes:
    parts: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return parts[0] if len(parts) == 1 else b"".join(parts)


class _Parser(MultiPartParser):
    """Starlette's parser, which by itself takes a body that was cut off for one without its last part."""

    # The whole of it stays in memory, where there is room for it, and needs none on a disk.
    spool_max_size = 0
    complete = False

    def on_end(self) -> None:
        """Called at the closing boundary."""
        self.complete = True


async def _multipart(request: Request, max_images: int) -> Upload:
    # One file more than allowed is let through, so that the answer can say which limit was passed.
    parser = _Parser(
        request.headers,
        request.stream(),
        max_files=max_images + 1,
        max_fields=MAX_FIELDS,
        max_part_size=MAX_FIELD_BYTES,
    )
    try:
        form = await parser.parse()
    except (Problem, ClientDisconnect):
        raise
    except MultiPartException as error:
        code = "too_many_images" if "Too many files" in error.message else "malformed_multipart"
        raise Problem(
            code, f"{error.message} Send at most {max_images} files named '{IMAGE_PART}'."
        ) from None
    # The parser meets hostile bytes before any check of ours: whatever it trips over is a malformed body.
    except Exception as error:
        raise Problem(
            "malformed_multipart", "the multipart body cannot be parsed: let an HTTP library write it"
        ) from error
    try:
        if not parser.complete:
            raise Problem(
                "malformed_multipart", "the multipart body ends before its closing boundary: send all of it"
            )
        return await _upload_of(form.multi_items(), max_images)
    finally:
        await form.close()


async def _upload_of(items: list[tuple[str, str | UploadFile]], max_images: int) -> Upload:
    images: list[bytes] = []
    fields: list[tuple[str, str]] = []
    for name, value in items:
        if isinstance(value, UploadFile):
            if name != IMAGE_PART:
                raise Problem(
                    "invalid_parameter",
                    f"the file part {name!r} is not known; files are sent in parts named '{IMAGE_PART}'",
                    parameter=name,
                )
            images.append(await value.read())
        elif name == IMAGE_PART:
            raise Problem(
                "image_missing",
                f"the part '{IMAGE_PART}' has no file name and was read as text: send it as a file "
                f"(with curl: -F {IMAGE_PART}=@photo.jpg)",
            )
        else:
            fields.append((name, value))
    if not images:
        raise Problem(
            "image_missing",
            f"the multipart body has no file named '{IMAGE_PART}' (with curl: -F image=@photo.jpg)",
        )
    if len(images) > max_images:
        raise Problem("too_many_images", f"at most {max_images} images are accepted", limit=max_images)
    if not all(images):
        raise Problem("empty_body", f"a file named '{IMAGE_PART}' is empty: send a PNG, JPEG or WebP image")
    return Upload(images=tuple(images), fields=tuple(fields))
