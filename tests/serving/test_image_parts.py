"""Files made of very many parts, and metadata that Pillow would read for long: refused, or never quick."""

from __future__ import annotations

import io
import struct
import zlib

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from serving.problems import Problem
from serving.uploads.image_parts import first_chunks, has_many_parts
from serving.uploads.images import MAX_PARTS, QUICK_PARTS, decode, open_image, open_quick_image
from tests.serving import pictures

MAX_PIXELS = 1_000_000
PNG = pictures.encoded(Image.new("RGB", (8, 8)), "PNG")
JPEG = pictures.encoded(Image.new("RGB", (8, 8)), "JPEG")
COMMENT = b"\xff\xfe\0\2"
WEBP = pictures.encoded(Image.new("RGB", (8, 8)), "WEBP", exif=b"Exif\0\0II*\0")
ANIMATION = pictures.animated("WEBP")


def _chunk(name: bytes, data: bytes = b"") -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _early_chunks(count: int) -> bytes:
    return PNG[:33] + _chunk(b"tEXt", b"a\0") * count + PNG[33:]


def _late_chunks(count: int) -> bytes:
    return PNG[:-12] + _chunk(b"aaAa") * count + PNG[-12:]


def _segments(count: int) -> bytes:
    return JPEG[:2] + COMMENT * count + JPEG[2:]


def _fill_bytes(count: int) -> bytes:
    return JPEG[:2] + b"\xff" * count + JPEG[2:]


def _stuffed_bytes(count: int) -> bytes:
    return JPEG[:2] + b"\xff\0" * count + JPEG[2:]


def _junk(count: int) -> bytes:
    return JPEG[:2] + COMMENT + bytes(count) + JPEG[2:]


def _segments_after_junk(count: int) -> bytes:
    return JPEG[:2] + COMMENT + b"\0" + COMMENT * count + JPEG[2:]


def _junk_between_segments(count: int) -> bytes:
    return JPEG[:2] + (COMMENT + bytes(19)) * (count // 20) + COMMENT * (count % 20) + JPEG[2:]


def _webp_chunks(count: int) -> bytes:
    return _webp(WEBP[12:] + b"aaAa\0\0\0\0" * count)


def _chunks_of_a_frame(count: int) -> bytes:
    start = ANIMATION.index(b"ANMF") + 4
    end = start + 4 + int.from_bytes(ANIMATION[start : start + 4], "little")
    frame = ANIMATION[start + 4 : end] + b"aaAa\0\0\0\0" * count
    return _webp(ANIMATION[12:start] + struct.pack("<I", len(frame)) + frame)


def _webp(chunks: bytes) -> bytes:
    return b"RIFF" + struct.pack("<I", len(chunks) + 4) + b"WEBP" + chunks


MANY = pytest.mark.parametrize(
    "many",
    [
        _early_chunks,
        _late_chunks,
        _segments,
        _fill_bytes,
        _stuffed_bytes,
        _junk,
        _segments_after_junk,
        _junk_between_segments,
        _webp_chunks,
        _chunks_of_a_frame,
    ],
)


@MANY
def test_a_file_of_endless_parts_is_refused(many: object) -> None:
    assert callable(many)
    decode(many(100), max_pixels=MAX_PIXELS)
    with pytest.raises(Problem, match="chunks or segments") as refused:
        open_image(many(MAX_PARTS), max_pixels=MAX_PIXELS)
    assert refused.value.code == "image_broken"


@MANY
def test_a_small_file_of_many_parts_is_not_quick(many: object) -> None:
    assert callable(many)
    assert open_quick_image(many(1), max_pixels=MAX_PIXELS) is not None
    assert open_quick_image(many(QUICK_PARTS), max_pixels=MAX_PIXELS) is None


def test_parts_are_counted_up_to_the_end_of_the_file() -> None:
    # IHDR, IDAT and IEND.
    assert [chunk.name for chunk in first_chunks(PNG, 4)] == [b"IHDR", b"IDAT", b"IEND"]
    assert len(first_chunks(PNG, 2)) == 2
    assert len(first_chunks(PNG[:-12], 4)) == 2
    assert not has_many_parts(JPEG[:20], most=2)
    # VP8X, EXIF and the image; what comes after them is none of it.
    assert not has_many_parts(WEBP + bytes(100), most=3)
    assert has_many_parts(WEBP, most=2)
    assert not has_many_parts(b"GIF89a" + bytes(100), most=1)


SHORT = [b"\xff\xe1\0" + bytes([length]) for length in range(4)]
BARE = [b"\0", b"\xff", b"\xff\0", b"\xff\xd0", b"\xff\xd9\0\6", b"\xff\xc8\xff\xff", b"\xff\xf0\xff\xff"]


@given(st.lists(st.sampled_from(SHORT + BARE)))
def test_no_fewer_parts_are_counted_in_a_jpeg_than_pillow_reads(parts: list[bytes]) -> None:
    data = JPEG[:2] + COMMENT + b"".join(parts) + JPEG[2:]
    try:
        read = len(JpegImageFile(io.BytesIO(data)).applist)
    except (SyntaxError, OSError, IndexError, struct.error):
        assume(False)
    assert has_many_parts(data, most=read - 1)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_pillow_reads_no_metadata_of_an_upload(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = pictures.rotated_by_exif(6, kind)
    # Where a JPEG says nothing of its resolution, Pillow looks for it in the EXIF.
    data = data.replace(b"JFIF\0\1\1\0", b"JFXX\0\1\1\0")

    def refuse(_: Image.Image) -> None:
        pytest.fail("Pillow's reader was called")

    monkeypatch.setattr(Image.Image, "getexif", refuse)
    assert decode(data, max_pixels=MAX_PIXELS).size == (8, 16)
