"""Compressed request bodies: gzip and deflate, inflated no further than a limit."""

from __future__ import annotations

import zlib

from starlette.datastructures import Headers

from serving.inference.request import malformed
from serving.problems import Problem
from serving.uploads.body import body_too_large

# Sizes of zlib's window; 16 more stand for a gzip header. "deflate" means zlib's format (RFC 9110, 8.4.1.2).
_WINDOWS = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
IDENTITY = "identity"
ENCODINGS = (IDENTITY, *_WINDOWS)


def content_encoding(headers: Headers) -> str:
    """How the body is encoded: `identity`, `gzip` or `deflate`.

    Raises:
        Problem: unsupported_media_type.
    """
    encoding = headers.get("content-encoding", "").strip().lower() or IDENTITY
    if encoding not in ENCODINGS:
        raise Problem(
            "unsupported_media_type",
            f"the content encoding is {encoding[:80]!r}; accepted are: {', '.join(ENCODINGS)}",
            headers={"Accept-Encoding": ", ".join(ENCODINGS)},
            accepted=list(ENCODINGS),
        )
    return encoding


def decoded(body: bytes, encoding: str, *, max_bytes: int) -> bytes:
    """The body without its encoding; what comes out is counted while it is inflated.

    Raises:
        Problem: body_too_large, or malformed_inference_request for a stream that is damaged, cut off, or
            followed by something else.
    """
    if encoding == IDENTITY:
        return body
    stream = zlib.decompressobj(_WINDOWS[encoding])
    try:
        # One byte more than allowed, so that too large is told from exactly as large.
        inflated = stream.decompress(body, max_bytes + 1)
    except zlib.error as error:
        raise malformed(f"the body is not {encoding}, as Content-Encoding says ({error})") from None
    if len(inflated) > max_bytes:
        raise body_too_large(max_bytes)
    if not stream.eof or stream.unused_data:
        raise malformed(f"the {encoding} body does not end where its stream ends")
    return inflated
