"""What decoding an upload will cost, by what its header claims.

Nothing is verified here; where a decoder could find another header than the one that is looked at, the image
counts as large.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

from engines.rgb import DRAFT_MARGIN
from serving.uploads.image_parts import (
    FIRST_SEGMENT,
    FRAMES,
    JPEG,
    PNG,
    SCAN,
    START_OF_SCAN,
    Chunk,
    Segment,
    chunks,
    next_segment,
)

SLOW_PIXELS = 500_000
"""More take longer to decode than a batch is gathered for (some 10 ns each)."""
HEAVY_PIXELS = 4_000_000
"""More take more memory than two threads should at the same time."""
BYTES_PER_PIXEL = 12
"""Decoding takes no more memory than this for each pixel that `open_image` lets pass: the decoded image, what
becomes of it in RGB, and that upright; or a JPEG's coefficients instead of the last two."""
MOST_PARTS = 500
"""A file that has more before its pixels counts as large, and a PNG that has more in all as slow."""
# A keyword and the zero behind it.
_KEYWORD = 80
_SEQUENTIAL = frozenset({0xC0, 0xC1})
_REDUCTIONS = (8, 4, 2)


class Cost(NamedTuple):
    """Whether decoding takes long, and whether it takes much memory."""

    slow: bool
    heavy: bool


QUICK = Cost(slow=False, heavy=False)


class _Pixels(NamedTuple):
    """Pixels that a decoder passes over, and those that it holds at once."""

    passed: int
    held: int


_NONE = _Pixels(0, 0)
_LARGE = _Pixels(SLOW_PIXELS + 1, HEAVY_PIXELS + 1)


def decoding_cost(uploads: Sequence[bytes], *, shorter_side: int) -> Cost:
    """The cost of decoding all of them, one after the other.

    Args:
        shorter_side: as `engines.rgb.upright_rgb` takes it.
    """
    pixels = [_pixels(data, shorter_side) for data in uploads]
    return Cost(
        slow=sum(one.passed for one in pixels) > SLOW_PIXELS,
        heavy=max((one.held for one in pixels), default=0) > HEAVY_PIXELS,
    )


def _pixels(data: bytes, shorter_side: int) -> _Pixels:
    try:
        if data.startswith(PNG):
            return _of_png(data)
        if data.startswith(JPEG):
            return _of_jpeg(data, shorter_side)
        width, height = _webp_size(data)
    # Cut off: decoding it ends at once.
    except (struct.error, IndexError):
        return _NONE
    return _Pixels(width * height, width * height)


def _of_png(data: bytes) -> _Pixels:
    """Of its header, if it comes first and there is no other: Pillow may take another.

    Text that has to be unpacked takes as long as many pixels, and may come behind them.
    """
    width, height = struct.unpack_from(">II", data, len(PNG) + 8)
    pixels: int = width * height
    passed, begun = pixels, False
    for number, chunk in enumerate(chunks(data)):
        if (chunk.name == b"IHDR") != (number == 0):
            return _LARGE
        if number == MOST_PARTS:
            return _Pixels(_LARGE.passed, pixels) if begun else _LARGE
        if chunk.name == b"IDAT":
            begun = True
        elif _is_packed_text(data, chunk):
            passed = _LARGE.passed
    return _Pixels(passed, pixels)


def _is_packed_text(png: bytes, chunk: Chunk) -> bool:
    """Whether a chunk is a text that is compressed, as its kind or its second field says."""
    if chunk.name != b"iTXt":
        return chunk.name == b"zTXt"
    return png[png.find(b"\0", chunk.data, chunk.data + _KEYWORD) + 1] != 0


def _webp_size(data: bytes) -> tuple[int, int]:
    """WebP Container Specification; RFC 6386, 9.1; WebP Lossless Bitstream Specification, 3."""
    kind = data[12:16]
    if kind == b"VP8X":
        return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    return 0, 0


def _of_jpeg(data: bytes, shorter_side: int) -> _Pixels:
    """Of its frame, if nothing but segments comes before the first scan."""
    position = FIRST_SEGMENT
    frame: Segment | None = None
    for _ in range(MOST_PARTS):
        segment = next_segment(data, position, position + 2)
        if segment is None:
            return _LARGE if position < len(data) else _NONE
        if segment.marker == SCAN:
            return _NONE if frame is None else _of_frame(data, frame, segment, shorter_side)
        if segment.marker in FRAMES:
            frame = segment
        position = segment.end
    return _LARGE


def _of_frame(jpeg: bytes, frame: Segment, scan: Segment, shorter_side: int) -> _Pixels:
    height, width, components = struct.unpack_from(">HHB", jpeg, frame.start + 5)
    pixels: int = width * height
    # With several scans the decoder passes over the image for each, and keeps all coefficients meanwhile.
    if frame.marker not in _SEQUENTIAL or jpeg[scan.start + 4] < components:
        return _Pixels(pixels * max(1, jpeg.count(START_OF_SCAN)), pixels)
    scale = _reduction(min(width, height), shorter_side) if components == 3 else 1
    return _Pixels(pixels, pixels // scale**2)


def _reduction(side: int, shorter_side: int) -> int:
    """How far a JPEG of three colours is reduced while it is decoded."""
    needed = shorter_side * DRAFT_MARGIN
    return next((scale for scale in _REDUCTIONS if needed * scale <= side), 1)
