"""The parts that an image file is made of: how many there are, and a walk through those of a JPEG or a PNG.

Each is read in Python, but for those of WebP: millions of empty ones fit into an upload, and would keep a
thread, and all that share its interpreter, busy for long. libwebp keeps a record of each.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
FIRST_SEGMENT = 2
"""Where the walk through a JPEG begins: after its first marker."""
START_OF_SCAN = b"\xff\xda"
SCAN, END_OF_IMAGE = 0xDA, 0xD9
# T.81, table B.1: the markers of frames, less DHT, JPG and DAC.
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_RIFF_HEADER, _CHUNK_HEADER, _FRAME_HEADER = 12, 8, 16
# The end of the image, and the markers that a length follows to both Pillow and libjpeg: T.81, table B.1,
# without TEM, RSTn and SOI, which are bare, and JPG and JPGn, after which Pillow reads on and libjpeg ends.
_MARKER = re.compile(rb"\xff[\xc0-\xc7\xc9-\xcf\xd9-\xef\xfe]")


class Segment(NamedTuple):
    """One segment of a JPEG: the second byte of its marker, where that begins, and where the segment ends."""

    marker: int
    start: int
    end: int


def next_segment(jpeg: bytes, position: int, before: int = sys.maxsize) -> Segment | None:
    """The first segment whose marker begins at `position` or later, and ends no later than at `before`.

    What lies between two segments is passed over, byte by byte, as decoders do: fill bytes, bare markers,
    compressed data (which holds no pair of bytes that begins a segment), junk.
    """
    found = _MARKER.search(jpeg, position, before)
    if found is None:
        return None
    start, end = found.span()
    marker = jpeg[end - 1]
    length = 0 if marker == END_OF_IMAGE else max(2, int.from_bytes(jpeg[end : end + 2]))
    return Segment(marker, start, end + length)


class Chunk(NamedTuple):
    """One chunk of a PNG: its name, where it begins, and where it ends if it is not cut off."""

    name: bytes
    start: int
    end: int

    @property
    def data(self) -> int:
        """Where its data begins: after its length and name."""
        return self.start + 8


def chunks(png: bytes) -> Iterator[Chunk]:
    """Those of a PNG in turn, up to the end of the image or of the bytes; the last one may be cut off."""
    position, name = len(PNG), b""
    while name != b"IEND" and (name := png[position + 4 : position + 8]):
        start, position = position, position + 12 + int.from_bytes(png[position : position + 4])
        yield Chunk(name, start, position)


def first_chunks(png: bytes, most: int) -> list[Chunk]:
    """So many of `chunks` at most."""
    return list(islice(chunks(png), most))


def has_many_parts(data: bytes, *, most: int) -> bool:
    """Whether a WebP has more chunks than `most`, or a JPEG more segments and bytes between before a scan.

    Nothing is verified; what is none of these has no parts.
    """
    if data.startswith(b"RIFF"):
        return _has_many_riff_chunks(data, most)
    return data.startswith(JPEG) and _has_many_segments(data, most)


def _has_many_riff_chunks(webp: bytes, most: int) -> bool:
    """Counts those within a frame too: libwebp takes what it does not know of them for chunks of the file."""
    position, end = _RIFF_HEADER, min(len(webp), 8 + int.from_bytes(webp[4:8], "little"))
    for _ in range(most):
        if position >= end:
            return False
        length = int.from_bytes(webp[position + 4 : position + 8], "little")
        inside = webp[position : position + 4] == b"ANMF"
        position += _CHUNK_HEADER + (_FRAME_HEADER if inside else length + length % 2)
    return position < end


def _has_many_segments(jpeg: bytes, most: int) -> bool:
    position, left = FIRST_SEGMENT, most
    while left > 0:
        segment = next_segment(jpeg, position, position + left + 1)
        if segment is None:
            return len(jpeg) - position > left
        if segment.marker == SCAN:
            return False
        left -= segment.start - position + 1
        position = segment.end
    return position < len(jpeg)
