"""A PNG without the chunks that nothing here reads.

Pillow reads every chunk, also behind the pixels, keeps it, and unpacks up to 1 MiB of what is compressed: a
file of some kilobytes would take hundreds of megabytes, one of some megabytes half a minute.
"""

from __future__ import annotations

from collections.abc import Iterable

from serving.uploads.image_parts import Chunk

METADATA_BYTES = 1 << 20
"""Larger metadata is not looked at; Pillow unpacks no more of it either."""
# Without those of an animation: what is left is the still image that each has.
_NEEDED = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT"})
_TEXTS = frozenset({b"tEXt", b"zTXt", b"iTXt"})
# The texts that `engines.orientation` looks at.
_KEYWORDS = (b"exif\0", b"Raw profile type exif\0", b"XML:com.adobe.xmp\0")


def needed_chunks(png: bytes, found: Iterable[Chunk]) -> bytes:
    """The PNG with its pixels, their colours, and one of each kind of metadata that tells its orientation.

    Nothing is verified. The bytes themselves where nothing is left out; a chunk that is cut off, and what
    comes after the end of the image, stay as they are.

    Args:
        found: its chunks, as `image_parts.chunks` finds them.
    """
    parts: list[memoryview] = []
    whole = memoryview(png)
    kept = 0
    metadata: set[bytes] = set()
    for chunk in found:
        if chunk.name == b"IEND" or chunk.end > len(png):
            break
        if chunk.name not in _NEEDED:
            kind = _metadata(png, chunk)
            if kind is None or kind in metadata:
                parts.append(whole[kept : chunk.start])
                kept = chunk.end
            else:
                metadata.add(kind)
    return b"".join((*parts, whole[kept:])) if parts else png


def _metadata(png: bytes, chunk: Chunk) -> bytes | None:
    """What kind of metadata on the orientation a chunk holds, if it does."""
    if chunk.end - chunk.data > METADATA_BYTES:
        return None
    if chunk.name == b"eXIf":
        return chunk.name
    if chunk.name not in _TEXTS:
        return None
    return next((keyword for keyword in _KEYWORDS if png.startswith(keyword, chunk.data, chunk.end)), None)
