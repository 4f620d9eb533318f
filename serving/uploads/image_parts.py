"""How many parts an image file is made of.

Pillow reads each of them in Python: millions of empty ones fit into an upload, and would keep a thread, and
all that share its interpreter, busy for a minute.
"""

from __future__ import annotations

import re

PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
START_OF_SCAN = b"\xff\xda"
# A marker that a length follows: T.81, table B.1, without RSTn, SOI and EOI.
_SEGMENT = re.compile(rb"\xff[\xc0-\xcf\xda-\xfe]")


def has_many_parts(data: bytes, *, most: int) -> bool:
    """Whether a PNG has more than `most` chunks, or a JPEG more segments and fill bytes before a scan.

    Nothing is verified; what is no PNG or JPEG has no parts here (libwebp reads WebP by itself).
    """
    if data.startswith(PNG):
        return _has_many_chunks(data, most)
    return data.startswith(JPEG) and _has_many_segments(data, most)


def _has_many_chunks(png: bytes, most: int) -> bool:
    position = len(PNG)
    for _ in range(most):
        if png[position + 4 : position + 8] in (b"IEND", b""):
            return False
        position += 12 + int.from_bytes(png[position : position + 4])
    return position < len(png)


def _has_many_segments(jpeg: bytes, most: int) -> bool:
    position = 2
    for _ in range(most):
        two = jpeg[position : position + 2]
        # Where something else than a marker is, reading ends with an error.
        if two == START_OF_SCAN or not two.startswith(b"\xff"):
            return False
        if _SEGMENT.match(two):
            position += 2 + int.from_bytes(jpeg[position + 2 : position + 4])
        else:
            position += 1 if two == b"\xff\xff" else 2
    return position < len(jpeg)
