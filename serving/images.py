"""Uploaded bytes to an RGB image: PNG, JPEG and WebP, in bounded memory, or a clear problem.

Formats are recognised by content, whatever the request called them, and nothing but the three decoders is
ever tried (Pillow's advice for untrusted files).
"""

from __future__ import annotations

import io
import warnings
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from serving.problems import Problem

FORMATS = ("PNG", "JPEG", "WEBP")
ACCEPTED = "PNG, JPEG or WebP"
MEDIA_TYPES = ("image/png", "image/jpeg", "image/webp")
BACKGROUND = (255, 255, 255)
# Each scan of a progressive JPEG passes over the whole image again; cameras and encoders write about ten.
# Thousands fit into a small file and would keep a decoder busy for minutes.
MAX_JPEG_SCANS = 100
_START_OF_SCAN = b"\xff\xda"
# A JPEG is decoded at no less than this multiple of what is needed, so that the reduction inside the decoder
# does not show in the resized image.
DRAFT_MARGIN = 4


def decode(data: bytes, *, max_pixels: int, shorter_side: int | None = None) -> Image.Image:
    """The first frame of an uploaded image, upright, in 8-bit RGB.

    Orientation follows EXIF or XMP. Transparency is laid on white. 16-bit grey is scaled to 8 bits, CMYK is
    converted without colour profiles. Multi-picture JPEGs (MPO) count as JPEG.

    Args:
        data: the file.
        max_pixels: images with more (width x height) are refused before anything is decoded.
        shorter_side: length in pixels to which the caller will reduce the shorter side; a much larger JPEG is
        then
            decoded at a fraction of its size. Images smaller than four times that are never touched.

    Raises:
        Problem: empty_body, unsupported_image, image_too_large or image_broken.
    """
    if not data:
        raise Problem("empty_body", f"send the bytes of an image: {ACCEPTED}")
    image = _open(data)
    pixels = image.width * image.height
    if pixels > max_pixels:
        raise Problem(
            "image_too_large",
            f"the image has {image.width} x {image.height} = {pixels} pixels; "
            f"at most {max_pixels} are accepted: make it smaller",
            limit=max_pixels,
        )
    try:
        if shorter_side is not None:
            _draft(image, shorter_side * DRAFT_MARGIN)
        image.load()
        return _upright(_to_rgb(image))
    except Problem:
        raise
    # Decoders fail on hostile files in many ways (OSError, SyntaxError, struct.error, ValueError,
    # OverflowError, MemoryError, ...); each of them means that this file cannot be decoded.
    except Exception as error:
        raise _broken() from error


def settle_warnings() -> None:
    """For this process: Pillow's warning about huge images is an error; those on metadata are silent."""
    warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
    warnings.simplefilter("error", Image.DecompressionBombWarning)


def _open(data: bytes) -> Image.Image:
    # Looked at first, because Pillow loads its forty other decoders before it says that none of these fits.
    if not _has_signature(data):
        raise Problem(
            "unsupported_image",
            f"the bytes are not an image of an accepted format; send {ACCEPTED}",
            accepted=list(MEDIA_TYPES),
        )
    if data.startswith(b"\xff\xd8") and data.count(_START_OF_SCAN) > MAX_JPEG_SCANS:
        raise Problem(
            "image_broken",
            f"the JPEG has more than {MAX_JPEG_SCANS} scans: save it again with an ordinary encoder",
            limit=MAX_JPEG_SCANS,
        )
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise Problem(
            "image_too_large", f"the image has too many pixels to be opened safely: {error}"
        ) from error
    except Exception as error:
        raise _broken() from error


def _has_signature(data: bytes) -> bool:
    return data.startswith((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")) or (
        data.startswith(b"RIFF") and data[8:12] == b"WEBP"
    )


def _broken() -> Problem:
    return Problem(
        "image_broken",
        f"the image is truncated or damaged and cannot be decoded; send a complete {ACCEPTED}",
        accepted=list(MEDIA_TYPES),
    )


def _draft(image: Image.Image, side: int) -> None:
    if image.format in ("JPEG", "MPO") and image.mode == "RGB" and min(image.size) > side:
        scale = side / min(image.size)
        image.draft("RGB", (max(1, int(image.width * scale)), max(1, int(image.height * scale))))


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    # Metadata that cannot be read says nothing about the orientation; the pixels are fine.
    except Exception:
        return image


def _to_rgb(image: Image.Image) -> Image.Image:
    metadata: dict[str | tuple[int, int], Any] = {
        key: image.info[key] for key in ("exif", "xmp", "XML:com.adobe.xmp") if key in image.info
    }
    if image.mode.startswith("I"):
        converted = _from_16_bit_grey(image)
    elif image.has_transparency_data:
        converted = _on_background(_with_alpha(image))
    else:
        converted = image if image.mode == "RGB" else image.convert("RGB")
    converted.info.update(metadata)
    return converted


def _with_alpha(image: Image.Image) -> Image.Image:
    transparent = image.info.get("transparency")
    if image.mode == "RGB" and isinstance(transparent, tuple) and max(transparent) > 255:
        # The key colour of a 16-bit PNG; Pillow has kept only the high byte of each value.
        image.info["transparency"] = tuple(value >> 8 for value in transparent)
    return image.convert("RGBA")


def _on_background(image: Image.Image) -> Image.Image:
    canvas = Image.new("RGBA", image.size, (*BACKGROUND, 255))
    canvas.alpha_composite(image)
    return canvas.convert("RGB")


def _from_16_bit_grey(image: Image.Image) -> Image.Image:
    values = np.asarray(image).astype(np.uint32).clip(0, 65535)
    grey = ((values * 255 + 32767) // 65535).astype(np.uint8)
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        grey[values == transparent] = BACKGROUND[0]
    return Image.fromarray(grey).convert("RGB")
