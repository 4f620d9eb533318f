"""Small encoded images of every awkward kind."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image

RED = (220, 30, 20)


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """The bytes of `image` as a file."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def plain(color: tuple[int, int, int] = RED, size: tuple[int, int] = (12, 10), kind: str = "PNG") -> bytes:
    """A picture of one colour."""
    return encoded(Image.new("RGB", size, color), kind)


def noise(size: tuple[int, int], seed: int = 0) -> Image.Image:
    """Random pixels."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def halves(left: tuple[int, int, int], right: tuple[int, int, int], size: tuple[int, int]) -> Image.Image:
    """Two colours side by side."""
    image = Image.new("RGB", size, left)
    image.paste(right, (size[0] // 2, 0, size[0], size[1]))
    return image


def rotated_by_exif(orientation: int, kind: str = "JPEG") -> bytes:
    """16 x 8, red left and blue right, with an EXIF orientation."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(halves((255, 0, 0), (0, 0, 255), (16, 8)), kind, exif=exif)


def webp_claiming(width: int, height: int) -> bytes:
    """A WebP whose header announces a size, and which ends there."""
    canvas = bytes(4) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    chunks = b"WEBPVP8X" + struct.pack("<I", len(canvas)) + canvas
    return b"RIFF" + struct.pack("<I", len(chunks)) + chunks


def png_claiming(width: int, height: int) -> bytes:
    """A PNG whose header promises any size, with next to no data behind it."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 64)), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


def bomb(side: int) -> bytes:
    """A real PNG of side x side black pixels, a thousandth of its size when compressed."""
    return encoded(Image.new("1", (side, side)))


def animated(kind: str) -> bytes:
    """Two frames: a red and a blue one."""
    frames = [Image.new("RGB", (8, 8), color) for color in ((255, 0, 0), (0, 0, 255))]
    return encoded(frames[0], kind, save_all=True, append_images=frames[1:], duration=100, lossless=True)
