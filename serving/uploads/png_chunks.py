"""A PNG without the chunks that nothing here reads.

Pillow reads every chunk, also behind the pixels, keeps it, and unpacks up to 1 MiB of what is compressed: a
file of some kilobytes would take hundreds of megabytes, one of some megabytes half a minute.
"""

from __future__ import annotations

from serving.uploads.image_parts import PNG

METADATA_BYTES = 1 << 20
"""Larger metadata is not looked at; Pillow unpacks no more of it either."""
# Without those of an animation: what is left is the still image that each has.
_NEEDED = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT"})
_TEXTS = frozenset({b"tEXt", b"zTXt", b"iTXt"})
# The texts that `engines.orientation` looks at.
_KEYWORDS = (b"exif\0", b"Raw profile type exif\0", b"XML:com.adobe.xmp\0")
_AROUND = 12


def needed_chunks(png: bytes) -> bytes:
    """The PNG with its pixels, their colours, and one of each kind of metadata that tells its orientation.

    Nothing is verified. The bytes themselves where nothing is left out; a chunk that is cut off, and what
    comes after the end of the image, stay as they are.
    """
    parts: list[memoryview] = []
    whole = memoryview(png)
    kept, position = 0, len(PNG)
    metadata: set[bytes] = set()
    while (end := position + _AROUND + int.from_bytes(png[position : position + 4])) <= len(png):
        name = png[position + 4 : position + 8]
        if name == b"IEND":
            break
        if name not in _NEEDED:
            kind = _metadata(png, name, position + 8, end)
            if kind is None or kind in metadata:
                parts.append(whole[kept:position])
                kept = end
            else:
                metadata.add(kind)
        position = end
    return b"".join((*parts, whole[kept:])) if parts else png


def _metadata(png: bytes, name: bytes, begin: int, end: int) -> bytes | None:
    """What kind of metadata on the orientation a chunk holds, if it does."""
    if end - begin > METADATA_BYTES:
        return None
    if name == b"eXIf":
        return name
    if name not in _TEXTS:
        return None
    return next((keyword for keyword in _KEYWORDS if png.startswith(keyword, begin, end)), None)
