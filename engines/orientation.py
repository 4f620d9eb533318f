"""How an image has to be turned to stand upright, as its metadata says.

Pillow's own reader copies out everything that an EXIF directory points at. Entries may overlap, so a small
file can make it copy many gigabytes; here nothing but the orientation is looked at.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from typing import Any

from PIL import Image

_PREFIX = b"Exif\0\0"
_BYTE_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}
_ORIENTATION = 0x0112
# EXIF 2.3, table 2: the types of whole numbers, as struct names them.
_NUMBERS = {1: "B", 3: "H", 4: "I"}
_IN_XMP = re.compile(rb'tiff:Orientation(?:="|>)([0-9])')
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def upright_turn(info: Mapping[Any, Any]) -> Image.Transpose | None:
    """What turns an image upright; None for one that is, also where the metadata cannot be read.

    EXIF 2.3, 4.6.4 (tag 0x0112); where that is silent, XMP's `tiff:Orientation`.

    Args:
        info: the `info` of an image, as Pillow gives it for PNG, JPEG and WebP.
    """
    orientation = _of_exif(_exif(info))
    if orientation is None:
        orientation = _of_xmp(info)
    return None if orientation is None else _TURNS.get(orientation)


def _exif(info: Mapping[Any, Any]) -> bytes:
    # A text of a PNG may have any name, this one too.
    if isinstance(exif := info.get("exif"), bytes):
        return exif
    # Such a text: its kind, its length, and then the bytes in hexadecimal.
    try:
        lines = str(info.get("Raw profile type exif", "")).split("\n", 3)
        return bytes.fromhex(lines[3].replace("\n", "") if len(lines) > 3 else "")
    except ValueError:
        return b""


def _of_exif(exif: bytes) -> int | None:
    """The orientation in a TIFF structure's first directory, of 12 bytes an entry."""
    tiff = exif.removeprefix(_PREFIX)
    order = _BYTE_ORDERS.get(tiff[:4])
    if order is None:
        return None
    try:
        (start,) = struct.unpack_from(order + "I", tiff, 4)
        (count,) = struct.unpack_from(order + "H", tiff, start)
        for position in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind, values = struct.unpack_from(order + "HHI", tiff, position)
            if tag == _ORIENTATION and kind in _NUMBERS and values == 1:
                return int(struct.unpack_from(order + _NUMBERS[kind], tiff, position + 8)[0])
    except struct.error:
        pass
    return None


def _of_xmp(info: Mapping[Any, Any]) -> int | None:
    xmp = info.get("XML:com.adobe.xmp") or info.get("xmp") or b""
    found = _IN_XMP.search(xmp.encode(errors="replace") if isinstance(xmp, str) else xmp)
    return None if found is None else int(found[1])
