"""Uploaded bytes to an RGB image: PNG, JPEG and WebP, in bounded memory, or a clear problem.

Formats are recognised by content, whatever the request called them, and nothing but the three decoders is
ever tried (Pillow's advice for untrusted files).
"""

from __future__ import annotations

import io
import re
import warnings

from PIL import Image

from engines.rgb import upright_rgb
from serving.problems import Problem

FORMATS = ("PNG", "JPEG", "WEBP")
ACCEPTED = "PNG, JPEG or WebP"
MEDIA_TYPES = ("image/png", "image/jpeg", "image/webp")
# Each scan of a progressive JPEG passes over the whole image again; cameras and encoders write about ten.
# Thousands fit into a small file and would keep a decoder busy for minutes.
MAX_JPEG_SCANS = 100
MAX_JPEG_SEGMENTS = 2000
_START_OF_SCAN, _END_OF_IMAGE = b"\xff\xda", b"\xff\xd9"
# Two bytes that begin a segment or end the image. Compressed data between segments holds no such pair.
_JPEG_MARKER = re.compile(rb"\xff[\xc0-\xcf\xd9-\xfe]")


def decode(data: bytes, *, max_pixels: int, shorter_side: int | None = None) -> Image.Image:
    """The first frame of an uploaded image, upright, in 8-bit RGB.

    `engines.rgb.upright_rgb` says how other modes become RGB.

    Args:
        data: the file.
        max_pixels: images with more (width x height) are refused before anything is decoded.
        shorter_side: as in `upright_rgb`.

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
        return upright_rgb(image, shorter_side=shorter_side)
    # Hostile files raise anything; each of it means that this file cannot be decoded.
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
    if data.startswith(b"\xff\xd8") and _has_many_scans(data):
        raise Problem(
            "image_broken",
            f"the JPEG has more than {MAX_JPEG_SCANS} scans or {MAX_JPEG_SEGMENTS} segments: save it again "
            "with an ordinary encoder",
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


def _has_many_scans(jpeg: bytes) -> bool:
    # Counting the bytes is fast and never too low. But what a camera hides in a segment, or appends after the
    # image (a film, a second picture), may hold them by chance: then the segments are walked through.
    if jpeg.count(_START_OF_SCAN) <= MAX_JPEG_SCANS:
        return False
    scans, position = 0, 0
    for _ in range(MAX_JPEG_SEGMENTS):
        found = _JPEG_MARKER.search(jpeg, position)
        if found is None or found[0] == _END_OF_IMAGE:
            return scans > MAX_JPEG_SCANS
        scans += found[0] == _START_OF_SCAN
        length = int.from_bytes(jpeg[found.end() : found.end() + 2])
        position = found.end() + max(2, length)
    return True


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
