"""Metadata of uploads: what tells the orientation is read, nothing else is kept or unpacked."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from PIL import Image, ImageCms, PngImagePlugin

from engines.rgb import upright_rgb
from serving.problems import Problem
from serving.uploads.image_parts import chunks
from serving.uploads.images import decode, open_image
from serving.uploads.jpeg import MOST_EXIF
from serving.uploads.png_chunks import METADATA_BYTES, needed_chunks
from tests.serving import pictures
from tests.serving.test_fuzz import FILES, damaged

MAX_PIXELS = 4_000_000
WIDE = pictures.halves((255, 0, 0), (0, 0, 255), (16, 8))
PNG = pictures.encoded(WIDE)
JPEG = pictures.encoded(WIDE, "JPEG")
MIB = 1 << 20
# EXIF of nothing but an orientation of 6.
EXIF = struct.pack("<4sIHHHIHHI", b"II*\0", 8, 1, 0x0112, 3, 1, 6, 0, 0)
PROFILE = b"\nexif\n%8d\n" % len(EXIF) + EXIF.hex().encode() + b"\n"
XMP = b'<x tiff:Orientation="6"/>'
# Four bytes of memory for each of its letters.
WIDE_TEXT = "\U0001f600".encode() + b"a" * (MIB - 4)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _text(keyword: bytes, text: bytes, *, language: bytes = b"") -> bytes:
    return _chunk(b"iTXt", keyword + b"\0\1\0" + language + b"\0\0" + zlib.compress(text))


def _profile() -> bytes:
    return _chunk(b"iCCP", b"p\0\0" + zlib.compress(bytes(MIB)))


def _png(chunks: bytes, *, late: bool = False) -> bytes:
    return PNG[:-12] + chunks + PNG[-12:] if late else PNG[:33] + chunks + PNG[33:]


def _needed(png: bytes) -> bytes:
    return needed_chunks(png, chunks(png))


def _segment(marker: int, data: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data


def _jpeg(segments: bytes) -> bytes:
    return JPEG[:2] + segments + JPEG[2:]


LATE = pytest.mark.parametrize("late", [False, True], ids=["before the pixels", "behind the pixels"])


@LATE
@pytest.mark.parametrize(
    "chunks",
    [
        _profile() * 50,
        _chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(MIB))) * 50,
        b"".join(_text(b"k%d" % number, WIDE_TEXT) for number in range(50)),
        _text(b"XML:com.adobe.xmp", WIDE_TEXT) * 50,
        _text(b"Raw profile type exif", bytes(MIB), language=b"\xff") * 50,
    ],
    ids=["profiles", "texts", "wide texts", "XMP", "texts of no language"],
)
def test_hardly_anything_in_a_png_is_unpacked(
    chunks: bytes, late: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = _png(chunks, late=late)
    unpacked = []
    unpack = PngImagePlugin._safe_zlib_decompress

    def counted(packed: bytes) -> bytes:
        unpacked.append(len(packed))
        return unpack(packed)

    monkeypatch.setattr(PngImagePlugin, "_safe_zlib_decompress", counted)
    assert _peak(data) < 12 * MIB
    assert len(unpacked) <= 1


@pytest.mark.parametrize(
    "segments",
    [
        _segment(0xC0, struct.pack(">BHHB", 8, 8, 16, 3) + bytes(65_000)) * 10,
        _segment(0xE1, b"Exif\0\0" + bytes(65_000)) * 100,
        _segment(0xDB, (b"\0" + b"\1" * 64) * 1000) * 100,
        _segment(0xED, b"Photoshop 3.0\0" + (b"8BIM\4\4" + bytes(6)) * 5000) * 100,
        _segment(0xE2, b"ICC_PROFILE\0\1\1" + bytes(65_000)) * 100,
        _segment(0xFE, bytes(65_000)) * 100,
    ],
    ids=["frames", "EXIF", "tables", "resources", "profiles", "comments"],
)
def test_hardly_anything_in_a_jpeg_is_kept(segments: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    # Pillow's own reader knows no segment any more.
    monkeypatch.setattr("PIL.JpegImagePlugin.MARKER", {})
    assert _peak(_jpeg(segments)) < 2 * MOST_EXIF * 65_536 + MIB


def _peak(data: bytes) -> int:
    """Bytes of Python's memory that decoding takes."""
    tracemalloc.start()
    try:
        decode(data, max_pixels=MAX_PIXELS)
    except Problem as problem:
        assert problem.code == "image_broken"
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    return peak


def test_a_second_frame_is_refused() -> None:
    frame = _segment(0xC0, struct.pack(">BHHB", 8, 8, 16, 1) + b"\1\x11\0")
    with pytest.raises(Problem) as refused:
        decode(_jpeg(frame), max_pixels=MAX_PIXELS)
    assert refused.value.code == "image_broken"


@pytest.mark.parametrize(("bits", "components"), [(12, 3), (8, 2)])
def test_a_jpeg_of_other_colours_is_refused(bits: int, components: int) -> None:
    start = JPEG.index(b"\xff\xc0")
    header = struct.pack(">BHHB", bits, 8, 16, components)
    with pytest.raises(Problem) as refused:
        open_image(JPEG[: start + 4] + header + JPEG[start + 10 :], max_pixels=MAX_PIXELS)
    assert refused.value.code == "image_broken"


@LATE
@pytest.mark.parametrize(
    "chunk",
    [
        _chunk(b"eXIf", EXIF),
        _chunk(b"tEXt", b"exif\0" + EXIF),
        _chunk(b"tEXt", b"Raw profile type exif\0" + PROFILE),
        _chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(PROFILE)),
        _text(b"XML:com.adobe.xmp", XMP),
        _chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP),
    ],
)
def test_all_that_tells_the_orientation_of_a_png_is_read(chunk: bytes, late: bool) -> None:
    others = _profile() + _chunk(b"tEXt", b"Comment\0text") + _chunk(b"gAMA", bytes(4))
    assert decode(_png(others + chunk + others, late=late), max_pixels=MAX_PIXELS).size == (8, 16)


def test_metadata_of_a_png_is_read_once_and_not_when_it_is_huge() -> None:
    exif, other = _chunk(b"eXIf", EXIF), _chunk(b"eXIf", b"II*\0")
    assert _needed(_png(exif + other)) == _png(exif)
    assert _needed(_png(_chunk(b"eXIf", EXIF + bytes(METADATA_BYTES)))) == PNG


@pytest.mark.parametrize(
    "segments",
    [
        _segment(0xE1, b"Exif\0\0" + EXIF),
        _segment(0xE1, b"Exif\0\0" + EXIF[:12]) + _segment(0xE1, b"Exif\0\0" + EXIF[12:]),
        _segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + XMP),
    ],
    ids=["EXIF", "EXIF in two parts", "XMP"],
)
def test_all_that_tells_the_orientation_of_a_jpeg_is_read(segments: bytes) -> None:
    assert decode(_jpeg(segments), max_pixels=MAX_PIXELS).size == (8, 16)


def test_what_is_not_left_out_is_not_copied() -> None:
    data = _png(_chunk(b"eXIf", EXIF))
    assert _needed(data) is data


def test_a_chunk_that_is_cut_off_is_still_refused() -> None:
    data = _png(_chunk(b"iCCP", b"p\0\0" + zlib.compress(b"")), late=True)
    assert decode(data, max_pixels=MAX_PIXELS).size == WIDE.size
    with pytest.raises(Problem) as refused:
        decode(data[:-20], max_pixels=MAX_PIXELS)
    assert refused.value.code == "image_broken"


@settings(max_examples=400)
@given(damaged())
def test_of_a_damaged_png_no_other_chunks_are_left(data: bytes) -> None:
    needed = _needed(data)
    assert len(needed) <= len(data)
    assert _needed(needed) is needed


def _decorated() -> list[bytes]:
    """Files with all that cameras and editors write into them."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x0112] = 8
    note = PngImagePlugin.PngInfo()
    note.add_text("Comment", "text", zip=True)
    note.add_itxt("XML:com.adobe.xmp", XMP.decode())
    note.add(b"gAMA", struct.pack(">I", 45_455))
    note.add(b"tIME", bytes(7), after_idat=True)
    png = {"icc_profile": profile, "dpi": (300, 300), "pnginfo": note}
    jpeg = {"icc_profile": profile, "dpi": (300, 300), "comment": "text", "exif": exif, "quality": 95}
    return [
        pictures.encoded(WIDE, "PNG", **png),
        pictures.encoded(WIDE, "PNG", exif=exif, **png),
        pictures.encoded(WIDE.quantize(4), "PNG", transparency=b"\0\x80", **png),
        pictures.encoded(WIDE.convert("LA"), "PNG", **png),
        pictures.encoded(WIDE, "JPEG", **jpeg),
        pictures.encoded(WIDE, "JPEG", progressive=True, **jpeg),
        pictures.encoded(WIDE.convert("L"), "JPEG", **jpeg),
        pictures.encoded(WIDE.convert("CMYK"), "JPEG", **jpeg),
        pictures.encoded(WIDE, "MPO", save_all=True, append_images=[WIDE.rotate(180)], exif=exif),
    ]


def _pages() -> list[bytes]:
    images = Path(__file__).parents[2] / "docs" / "images"
    return [path.read_bytes() for path in sorted(images.iterdir()) if path.suffix in (".png", ".jpg")]


@pytest.mark.parametrize("shorter_side", [None, 4])
@pytest.mark.parametrize("data", [*FILES[:-1], *_decorated(), *_pages()])
def test_real_files_are_decoded_as_pillow_decodes_all_of_their_bytes(
    data: bytes, shorter_side: int | None
) -> None:
    whole = upright_rgb(Image.open(io.BytesIO(data)), shorter_side=shorter_side)
    decoded = decode(data, max_pixels=MAX_PIXELS, shorter_side=shorter_side)
    np.testing.assert_array_equal(np.asarray(decoded), np.asarray(whole))
