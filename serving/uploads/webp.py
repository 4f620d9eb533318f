"""WebP decoded by the library that Pillow brings, without Pillow's own way to it.

That way keeps Python's interpreter, and with it the event loop, from beginning to end (half a second for a
photograph), and holds five copies of the pixels.
"""

from __future__ import annotations

import ctypes
import io
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, _webp
from PIL.WebPImagePlugin import WebPImageFile

MAX_CHUNKS = 1000
"""Before the first frame of an animation; encoders write three or four."""
_ANIMATED = 0x02
_CHUNKS, _CHUNK_HEADER, _FRAME_HEADER = 12, 8, 16


# The compressed bytes and their number, where to write, bytes there, bytes of a row; null when it fails.
_Decode: TypeAlias = Callable[[bytes, int, int, int, int], int | None]


class WebP(WebPImageFile):
    """A WebP of which nothing but the first frame is read; the bytes may be anything.

    Raises:
        SyntaxError: and others, where the header is that of no WebP.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._decoded = False
        super().__init__(io.BytesIO(data))

    def load(self) -> Any:
        """Decodes; Pillow does where the library is not to be had.

        Raises:
            OSError: it cannot be decoded.
        """
        if (decode := _decoder()) is None:
            return super().load()
        if not self._decoded:
            pixels = _first_frame(decode, self._data, self.size)
            frame = Image.frombuffer("RGBA", self.size, pixels, "raw", "RGBA", 0, 1)
            self.im = (frame if self.mode == "RGBA" else frame.convert(self.mode)).im
            self.readonly = 1
            self._decoded = True
        return Image.Image.load(self)


class _Frame(NamedTuple):
    """The compressed bytes of a frame, and where its upper left corner lies."""

    data: bytes
    left: int
    top: int


def _first_frame(decode: _Decode, data: bytes, size: tuple[int, int]) -> NDArray[np.uint8]:
    """uint8[height, width, 4]: red, green, blue and alpha.

    Raises:
        OSError: it cannot be decoded.
    """
    frame = _frame(data)
    width, height = size
    # Not touched here: what lies outside of the frame is transparent black.
    pixels = np.zeros((height, width, 4), np.uint8)
    begin = (frame.top * width + frame.left) * 4
    room = pixels.nbytes - begin
    if room <= 0 or not decode(frame.data, len(frame.data), pixels.ctypes.data + begin, room, width * 4):
        raise OSError("the WebP is damaged")
    return pixels


@lru_cache(maxsize=1)
def _decoder() -> _Decode | None:
    """libwebp's WebPDecodeRGBAInto, which checks the size of what it writes to; None where there is none."""
    try:
        decode = ctypes.CDLL(_webp.__file__).WebPDecodeRGBAInto
    except (OSError, AttributeError):
        return None
    decode.restype = ctypes.c_void_p
    decode.argtypes = (ctypes.c_char_p, ctypes.c_size_t, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return cast(_Decode, decode)


def _frame(data: bytes) -> _Frame:
    """The only frame, or the first of an animation. Source: WebP Container Specification.

    Raises:
        OSError: an animation without a frame among its first chunks.
    """
    if data[12:16] != b"VP8X" or not data[20] & _ANIMATED:
        return _Frame(data, 0, 0)
    position = _CHUNKS
    for _ in range(MAX_CHUNKS):
        begin = position + _CHUNK_HEADER
        end = begin + int.from_bytes(data[position + 4 : begin], "little")
        if data[position : position + 4] == b"ANMF":
            left, top = (int.from_bytes(data[at : at + 3], "little") * 2 for at in (begin, begin + 3))
            return _Frame(data[begin + _FRAME_HEADER : end], left, top)
        position = end + end % 2
    raise OSError("the WebP has no frame")
