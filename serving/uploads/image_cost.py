"""What decoding an upload will cost, by what its header claims: a hint, for nothing is verified here."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

from engines.rgb import DRAFT_MARGIN
from serving.uploads.image_parts import JPEG, PNG, START_OF_SCAN

SLOW_PIXELS = 500_000
"""More take longer to decode than a batch is gathered for (some 10 ns each)."""
HEAVY_PIXELS = 4_000_000
"""More take more memory than two threads should at the same time."""
BYTES_PER_PIXEL = 12
"""Decoding takes no more memory than this for each pixel that `open_image` lets pass: the decoded image, what
becomes of it in RGB, and that upright; or a JPEG's coefficients instead of the last two."""
MOST_SEGMENTS = 500
# T.81, table B.1: the markers of frames, less DHT, JPG and DAC; the progressive ones keep all coefficients.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SEQUENTIAL = frozenset({0xC0, 0xC1})
_REDUCTIONS = (8, 4, 2)


class Cost(NamedTuple):
    """Whether decoding takes long, and whether it takes much memory."""

    slow: bool
    heavy: bool


class _Pixels(NamedTuple):
    """Pixels that a decoder passes over, and those that it holds at once."""

    passed: int
    held: int


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
            width, height = struct.unpack_from(">II", data, 16)
        elif data.startswith(JPEG):
            return _of_jpeg(data, shorter_side)
        else:
            width, height = _webp_size(data)
    # Cut off: decoding it ends at once.
    except (struct.error, IndexError):
        return _Pixels(0, 0)
    return _Pixels(width * height, width * height)


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
    """Of the first frame header; a JPEG that hides it behind many segments counts as large."""
    position = 2
    for _ in range(MOST_SEGMENTS):
        marker = data[position + 1]
        if data[position] != 0xFF:
            return _Pixels(0, 0)
        if marker in _FRAMES:
            height, width, components = struct.unpack_from(">HHB", data, position + 5)
            if marker not in _SEQUENTIAL:
                return _Pixels(width * height * max(1, data.count(START_OF_SCAN)), width * height)
            scale = _reduction(min(width, height), shorter_side) if components == 3 else 1
            return _Pixels(width * height, width * height // scale**2)
        if marker == 0xFF:
            position += 1
        elif marker in (0x00, 0x01) or 0xD0 <= marker <= 0xD8:
            position += 2
        else:
            position += 2 + int.from_bytes(data[position + 2 : position + 4])
    return _Pixels(SLOW_PIXELS + 1, HEAVY_PIXELS + 1)


def _reduction(side: int, shorter_side: int) -> int:
    """How far a JPEG of three colours is reduced while it is decoded."""
    needed = shorter_side * DRAFT_MARGIN
    return next((scale for scale in _REDUCTIONS if needed * scale <= side), 1)
