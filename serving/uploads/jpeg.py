"""A JPEG whose header is read here; its pixels are decoded by the library that Pillow brings.

Pillow's own reader takes apart in Python, and keeps, every segment before the first scan. Segments that are
legal or nearly so make it take seconds for a file of some megabytes, and thirty times its size.
"""

from __future__ import annotations

import io
import struct

from PIL import ImageFile
from PIL.JpegImagePlugin import JpegImageFile

from serving.uploads.image_parts import FIRST_SEGMENT, FRAMES, SCAN, Segment, next_segment

MOST_EXIF = 16
"""Segments of EXIF that are put together; one holds almost 64 KiB, and cameras write one."""
_APP1 = 0xE1
_EXIF, _XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
_MODES = {1: "L", 3: "RGB", 4: "CMYK"}
# Pillow's names for how the library hands out the pixels: CMYK inverted, as Adobe writes it.
_RAW_MODES = {"CMYK": "CMYK;I"}


class Jpeg(JpegImageFile):
    """A JPEG of which nothing but the first picture and what tells its orientation is read.

    Raises:
        SyntaxError: and others, where nothing can be decoded.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        super().__init__(io.BytesIO(data))

    def _open(self) -> None:
        frame: Segment | None = None
        exif: list[bytes] = []
        position = FIRST_SEGMENT
        while (segment := next_segment(self._data, position)) is not None and segment.marker != SCAN:
            if segment.marker in FRAMES:
                frame = segment
            elif segment.marker == _APP1:
                self._read_app1(segment, exif)
            position = segment.end
        if segment is None or frame is None:
            raise SyntaxError("the JPEG has no frame, or no scan")
        if exif:
            self.info["exif"] = _EXIF + b"".join(exif)
        self._read_frame(frame)

    def _read_app1(self, segment: Segment, exif: list[bytes]) -> None:
        begin, end = segment.start + 4, segment.end
        if self._data.startswith(_EXIF, begin, end):
            if len(exif) < MOST_EXIF:
                exif.append(self._data[begin + len(_EXIF) : end])
        elif self._data.startswith(_XMP, begin, end):
            self.info["xmp"] = self._data[begin + len(_XMP) : end]

    def _read_frame(self, frame: Segment) -> None:
        """T.81, B.2.2; the library refuses a frame of the wrong length, and a second one."""
        bits, height, width, components = struct.unpack_from(">BHHB", self._data, frame.start + 4)
        if bits != 8 or components not in _MODES:
            raise SyntaxError(f"the JPEG has {components} colours of {bits} bits")
        self._mode = _MODES[components]
        self._size = width, height
        raw_mode = _RAW_MODES.get(self._mode, self._mode)
        self.tile = [ImageFile._Tile("jpeg", (0, 0, width, height), 0, (raw_mode, ""))]
