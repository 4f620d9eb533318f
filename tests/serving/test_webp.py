"""WebP without Pillow's own way to it: the same pixels, from stills and animations, and the same refusals."""

from __future__ import annotations

import ctypes
import io
import struct

import numpy as np
import pytest
from PIL import Image

from serving.uploads import webp
from serving.uploads.webp import MAX_CHUNKS, WebP
from tests.serving import pictures

RGBA = Image.fromarray(np.random.default_rng(0).integers(0, 256, (31, 45, 4), np.uint8))
STILLS = {
    "lossless": pictures.encoded(RGBA, "WEBP", lossless=True, exact=True),
    "lossless opaque": pictures.encoded(RGBA.convert("RGB"), "WEBP", lossless=True),
    "lossy": pictures.encoded(RGBA.convert("RGB"), "WEBP", quality=60),
    "lossy with alpha": pictures.encoded(RGBA, "WEBP", quality=60),
    "with metadata": pictures.encoded(RGBA, "WEBP", exif=b"Exif\0\0II*\0", icc_profile=b"x" * 7),
}


def _chunk(kind: bytes, content: bytes) -> bytes:
    return kind + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


def _animation(still: bytes, *, at: tuple[int, int], canvas: tuple[int, int], before: bytes = b"") -> bytes:
    """An animation of one frame, which may be smaller than its canvas."""
    with Image.open(io.BytesIO(still)) as frame:
        width, height = frame.size
    bits = still[12:] if still[12:16] != b"VP8X" else still[12 + 18 :]
    header = b"".join(
        value.to_bytes(3, "little") for value in (at[0] // 2, at[1] // 2, width - 1, height - 1, 100)
    )
    size = b"".join((value - 1).to_bytes(3, "little") for value in canvas)
    chunks = (
        _chunk(b"VP8X", bytes([0x12, 0, 0, 0]) + size)
        + before
        + _chunk(b"ANIM", bytes(6))
        + _chunk(b"ANMF", header + b"\0" + bits)
    )
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WEBP" + chunks


ANIMATIONS = {
    "of a library": pictures.animated("WEBP"),
    "smaller than its canvas": _animation(STILLS["lossy"], at=(6, 4), canvas=(60, 50)),
    "with alpha": _animation(STILLS["lossy with alpha"], at=(0, 0), canvas=(45, 31)),
    "behind others": _animation(
        STILLS["lossless"], at=(2, 0), canvas=(50, 31), before=_chunk(b"abcd", b"xyz")
    ),
}


@pytest.mark.parametrize("data", [*STILLS.values(), *ANIMATIONS.values()], ids=[*STILLS, *ANIMATIONS])
def test_pixels_are_those_of_pillow(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = Image.open(io.BytesIO(data))
    expected.load()

    # Pillow's decoder would keep the event loop.
    monkeypatch.setattr(WebP, "_get_next", None)
    found = WebP(data)
    found.load()

    assert (found.mode, found.size) == (expected.mode, expected.size)
    np.testing.assert_array_equal(np.asarray(found), np.asarray(expected))
    np.testing.assert_array_equal(np.asarray(found.convert("RGB")), np.asarray(expected.convert("RGB")))


def test_without_the_library_pillow_decodes(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_library(_: str) -> object:
        raise OSError("it is part of something else")

    webp._decoder.cache_clear()
    try:
        monkeypatch.setattr(ctypes, "CDLL", no_library)
        found = np.asarray(WebP(STILLS["lossless"]))
    finally:
        webp._decoder.cache_clear()
    np.testing.assert_array_equal(found, np.asarray(RGBA))


def test_a_frame_that_is_damaged_is_refused_without_a_second_try(monkeypatch: pytest.MonkeyPatch) -> None:
    data = bytearray(STILLS["lossless"])
    data[40:] = bytes(len(data) - 40)
    monkeypatch.setattr(WebP, "_get_next", None)
    with pytest.raises(OSError, match="damaged"):
        WebP(bytes(data)).load()


def test_an_animation_with_very_many_chunks_is_not_walked_through() -> None:
    many = _chunk(b"abcd", b"") * MAX_CHUNKS
    data = _animation(STILLS["lossless"], at=(0, 0), canvas=(45, 31), before=many)
    with pytest.raises(OSError, match="no frame"):
        WebP(data).load()
