"""Uploaded bytes to an RGB image: PNG, JPEG and WebP, in bounded memory, or a clear problem.

Formats are recognised by content, whatever the request called them, and nothing but the three decoders is
ever tried (Pillow's advice for untrusted files).
"""

from __future__ import annotations

import io
import warnings

from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from engines.rgb import upright_rgb
from serving.problems import Problem
from serving.uploads.image_parts import (
    END_OF_IMAGE,
    FIRST_SEGMENT,
    JPEG,
    PNG,
    SCAN,
    START_OF_SCAN,
    first_chunks,
    has_many_parts,
    next_segment,
)
from serving.uploads.jpeg import Jpeg
from serving.uploads.png_chunks import needed_chunks
from serving.uploads.webp import WebP

ACCEPTED = "PNG, JPEG or WebP"
MEDIA_TYPES = ("image/png", "image/jpeg", "image/webp")
# Each scan of a progressive JPEG passes over the whole image again; cameras and encoders write about ten.
# Thousands fit into a small file and would keep a decoder busy for minutes.
MAX_JPEG_SCANS = 100
MAX_JPEG_SEGMENTS = 2000
# Encoders write chunks of a PNG's pixels of some thousand bytes, and two or three for each frame of a WebP.
MAX_PARTS = 10_000
QUICK_BYTES, QUICK_PIXELS, QUICK_SCANS, QUICK_PARTS = 16 * 1024, 96 * 96, 12, 32
_PACKED_METADATA = (b"zTXt", b"iTXt")


def decode(data: bytes, *, max_pixels: int, shorter_side: int | None = None) -> Image.Image:
    """The first frame of an uploaded image, upright, in 8-bit RGB: `open_image` and `to_rgb`."""
    return to_rgb(open_image(data, max_pixels=max_pixels), shorter_side=shorter_side)


def open_image(data: bytes, *, max_pixels: int, most_parts: int = MAX_PARTS) -> Image.Image:
    """An uploaded image whose header has been read, and nothing of its pixels.

    Args:
        data: the file.
        max_pixels: images with more (width x height) are refused.
        most_parts: so are files of more chunks or segments.

    Raises:
        Problem: empty_body, unsupported_image, image_too_large or image_broken.
    """
    if not data:
        raise Problem("empty_body", f"send the bytes of an image: {ACCEPTED}")
    image = _open(data, most_parts)
    pixels = image.width * image.height
    if pixels > max_pixels:
        raise Problem(
            "image_too_large",
            f"the image has {image.width} x {image.height} = {pixels} pixels; "
            f"at most {max_pixels} are accepted: make it smaller",
            limit=max_pixels,
        )
    return image


def open_quick_image(data: bytes, *, max_pixels: int) -> Image.Image | None:
    """The opened image, if `to_rgb` is certain to take well under a millisecond; else None, also for what
    cannot be opened.
    """
    if len(data) > QUICK_BYTES or data.count(START_OF_SCAN) > QUICK_SCANS:
        return None
    # What these hold is unpacked, and that may be much.
    if data.startswith(PNG) and any(kind in data for kind in _PACKED_METADATA):
        return None
    try:
        return open_image(data, max_pixels=min(max_pixels, QUICK_PIXELS), most_parts=QUICK_PARTS)
    except Problem:
        return None


def to_rgb(image: Image.Image, *, shorter_side: int | None = None) -> Image.Image:
    """The first frame of an opened image, upright, in 8-bit RGB.

    `engines.rgb.upright_rgb` says how other modes become RGB, and what `shorter_side` does.

    Raises:
        Problem: image_broken.
    """
    try:
        return upright_rgb(image, shorter_side=shorter_side)
    # Hostile files raise anything; each of it means that this file cannot be decoded.
    except Exception as error:
        raise _broken() from error


def settle_warnings() -> None:
    """For this process: Pillow's warnings about metadata are silent."""
    warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


def _open(data: bytes, most_parts: int) -> Image.Image:
    if not _has_signature(data):
        raise Problem(
            "unsupported_image",
            f"the bytes are not an image of an accepted format; send {ACCEPTED}",
            accepted=list(MEDIA_TYPES),
        )
    if data.startswith(JPEG) and _has_many_scans(data):
        raise Problem(
            "image_broken",
            f"the JPEG has more than {MAX_JPEG_SCANS} scans or {MAX_JPEG_SEGMENTS} segments: save it again "
            "with an ordinary encoder",
            limit=MAX_JPEG_SCANS,
        )
    found = first_chunks(data, most_parts + 1) if data.startswith(PNG) else []
    if len(found) > most_parts or has_many_parts(data, most=most_parts):
        raise Problem(
            "image_broken",
            f"the file has more than {most_parts} chunks or segments: save the image again with an ordinary "
            "encoder",
            limit=most_parts,
        )
    try:
        if data.startswith(JPEG):
            return Jpeg(data)
        if data.startswith(b"RIFF"):
            return WebP(data)
        return PngImageFile(io.BytesIO(needed_chunks(data, found)))
    # Of a WebP, by Pillow itself.
    except Image.DecompressionBombError as error:
        raise Problem(
            "image_too_large", f"the image has too many pixels to be opened safely: {error}"
        ) from error
    except Exception as error:
        raise _broken() from error


def _has_many_scans(jpeg: bytes) -> bool:
    # Counting the bytes is fast and never too low. But what a camera hides in a segment, or appends after the
    # image (a film, a second picture), may hold them by chance: then the segments are walked through.
    if jpeg.count(START_OF_SCAN) <= MAX_JPEG_SCANS:
        return False
    scans, position = 0, FIRST_SEGMENT
    for _ in range(MAX_JPEG_SEGMENTS):
        segment = next_segment(jpeg, position)
        if segment is None or segment.marker == END_OF_IMAGE:
            return scans > MAX_JPEG_SCANS
        scans += segment.marker == SCAN
        position = segment.end
    return True


def _has_signature(data: bytes) -> bool:
    return data.startswith((PNG, JPEG)) or (data.startswith(b"RIFF") and data[8:12] == b"WEBP")


def _broken() -> Problem:
    return Problem(
        "image_broken",
        f"the image is truncated or damaged and cannot be decoded; send a complete {ACCEPTED}",
        accepted=list(MEDIA_TYPES),
    )
