"""From an opened image file to upright 8-bit RGB. Serving and training share this: a model is trained on the
pixels that it will be served.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image

from engines.orientation import upright_turn

BACKGROUND = (255, 255, 255)
# A JPEG is decoded at no less than this multiple of what is needed, so that the reduction inside the decoder
# does not show in the resized image.
DRAFT_MARGIN = 4
TILE_PIXELS = 1 << 18
"""Pixels that are composed or scaled at once. Pillow keeps Python's interpreter, and with it all other
threads, for as long as it composes; and what is made on the way takes several times the memory."""


def upright_rgb(image: Image.Image, *, shorter_side: int | None = None) -> Image.Image:
    """The first frame of an opened image, upright, in 8-bit RGB.

    Orientation follows EXIF or XMP. Transparency is laid on white. 16-bit grey is scaled to 8 bits, CMYK is
    converted without colour profiles. Multi-picture JPEGs (MPO) count as JPEG.

    Args:
        image: as `PIL.Image.open` gives it; decoded here, if it is not yet.
        shorter_side: length in pixels to which the caller will reduce the shorter side; a much larger JPEG is
            then decoded at a fraction of its size. Images smaller than four times that are never touched.

    Raises:
        Exception: of any class; Pillow's decoders fail on damaged files in many ways (OSError, SyntaxError,
            struct.error, ValueError, OverflowError, MemoryError, ...).
    """
    if shorter_side is not None:
        _draft(image, shorter_side * DRAFT_MARGIN)
    image.load()
    turn = upright_turn(image.info)
    upright = _to_rgb(image)
    return upright if turn is None else upright.transpose(turn)


def _draft(image: Image.Image, side: int) -> None:
    if image.format in ("JPEG", "MPO") and image.mode == "RGB" and min(image.size) > side:
        scale = side / min(image.size)
        image.draft("RGB", (max(1, int(image.width * scale)), max(1, int(image.height * scale))))


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        return _tile_by_tile(image, _from_16_bit_grey)
    if image.has_transparency_data:
        _settle_key_colour(image)
        return _tile_by_tile(image, _on_background)
    return image if image.mode == "RGB" else image.convert("RGB")


def _tile_by_tile(image: Image.Image, convert: Callable[[Image.Image], Image.Image]) -> Image.Image:
    """What `convert`, which looks at each pixel by itself, makes of an image: RGB."""
    across = min(image.width, TILE_PIXELS)
    down = TILE_PIXELS // across
    whole = Image.new("RGB", image.size)
    for top in range(0, image.height, down):
        for left in range(0, image.width, across):
            right, bottom = min(left + across, image.width), min(top + down, image.height)
            whole.paste(convert(image.crop((left, top, right, bottom))), (left, top))
    return whole


def _settle_key_colour(image: Image.Image) -> None:
    transparent = image.info.get("transparency")
    if image.mode == "RGB" and isinstance(transparent, tuple) and max(transparent) > 255:
        # The key colour of a 16-bit PNG; Pillow has kept only the high byte of each value.
        image.info["transparency"] = tuple(value >> 8 for value in transparent)


def _on_background(image: Image.Image) -> Image.Image:
    canvas = Image.new("RGBA", image.size, (*BACKGROUND, 255))
    canvas.alpha_composite(image.convert("RGBA"))
    return canvas.convert("RGB")


def _from_16_bit_grey(image: Image.Image) -> Image.Image:
    values = np.asarray(image).astype(np.uint32).clip(0, 65535)
    grey = ((values * 255 + 32767) // 65535).astype(np.uint8)
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        grey[values == transparent] = BACKGROUND[0]
    return Image.fromarray(grey).convert("RGB")
