"""Decoding uploads."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from serving.problems import Problem
from serving.uploads.images import QUICK_BYTES, QUICK_PIXELS, QUICK_SCANS, decode, open_quick_image, to_rgb
from tests.serving import pictures

MAX_PIXELS = 1_000_000


def _decode(data: bytes) -> Image.Image:
    return decode(data, max_pixels=MAX_PIXELS)


def _corner(data: bytes) -> tuple[int, ...]:
    pixel = _decode(data).getpixel((0, 0))
    assert isinstance(pixel, tuple)
    return tuple(int(value) for value in pixel)


def _code(data: bytes, max_pixels: int = MAX_PIXELS) -> str:
    with pytest.raises(Problem) as caught:
        decode(data, max_pixels=max_pixels)
    return caught.value.code


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_lossless_formats_keep_every_pixel(kind: str) -> None:
    image = pictures.noise((9, 7))

    decoded = _decode(pictures.encoded(image, kind, lossless=True))

    assert decoded.mode == "RGB"
    assert np.array_equal(np.asarray(decoded), np.asarray(image))


def test_jpeg_decodes() -> None:
    assert np.allclose(_corner(pictures.plain((220, 30, 20), kind="JPEG")), (220, 30, 20), atol=4)


@pytest.mark.parametrize(
    ("mode", "color", "expected"),
    [
        ("1", 1, (255, 255, 255)),
        ("L", 100, (100, 100, 100)),
        ("LA", (100, 0), (255, 255, 255)),
        ("LA", (100, 255), (100, 100, 100)),
        ("RGBA", (10, 20, 30, 255), (10, 20, 30)),
        ("RGBA", (10, 20, 30, 0), (255, 255, 255)),
        ("RGBA", (0, 0, 0, 51), (204, 204, 204)),
        ("I;16", 65535, (255, 255, 255)),
        ("I;16", 257 * 100, (100, 100, 100)),
        ("I;16", 255, (1, 1, 1)),
    ],
)
def test_modes_become_rgb(mode: str, color: object, expected: tuple[int, int, int]) -> None:
    assert _corner(pictures.encoded(Image.new(mode, (3, 3), color))) == expected


def test_a_palette_becomes_rgb() -> None:
    image = pictures.halves((255, 0, 0), (0, 0, 255), (4, 2)).quantize(2)

    assert _corner(pictures.encoded(image)) == (255, 0, 0)


def test_a_transparent_palette_entry_is_white() -> None:
    image = pictures.halves((255, 0, 0), (0, 0, 255), (4, 2)).quantize(2)
    index = image.getpixel((0, 0))

    decoded = _decode(pictures.encoded(image, transparency=index))

    assert decoded.getpixel((0, 0)) == (255, 255, 255)
    assert decoded.getpixel((3, 0)) == (0, 0, 255)


def test_a_transparent_colour_is_white() -> None:
    image = pictures.halves((255, 0, 0), (0, 0, 255), (4, 2))

    assert _corner(pictures.encoded(image, transparency=(255, 0, 0))) == (255, 255, 255)
    assert _corner(pictures.encoded(Image.new("L", (2, 2), 7), transparency=7)) == (255, 255, 255)
    assert _corner(pictures.encoded(Image.new("1", (2, 2), 0), transparency=0)) == (255, 255, 255)


def test_cmyk_becomes_rgb() -> None:
    image = Image.new("CMYK", (16, 16), (0, 255, 255, 0))

    assert np.allclose(_corner(pictures.encoded(image, "JPEG", quality=95)), (255, 0, 0), atol=6)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(
    ("orientation", "size", "red_at"),
    [(1, (16, 8), (2, 4)), (3, (16, 8), (13, 4)), (6, (8, 16), (4, 2)), (8, (8, 16), (4, 13))],
)
def test_exif_orientation_is_followed(
    kind: str, orientation: int, size: tuple[int, int], red_at: tuple[int, int]
) -> None:
    image = _decode(pictures.rotated_by_exif(orientation, kind))
    pixel = image.getpixel(red_at)

    assert image.size == size
    assert isinstance(pixel, tuple)
    assert pixel[0] > 200 > 60 > pixel[2]


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_only_the_first_frame_counts(kind: str) -> None:
    assert _corner(pictures.animated(kind)) == (255, 0, 0)


def test_one_pixel_is_an_image() -> None:
    assert _decode(pictures.plain(size=(1, 1))).size == (1, 1)


def test_a_large_jpeg_is_reduced_while_it_is_decoded_but_never_below_what_is_needed() -> None:
    data = pictures.encoded(pictures.noise((640, 480)), "JPEG")

    assert decode(data, max_pixels=MAX_PIXELS, shorter_side=8).size == (80, 60)
    assert decode(data, max_pixels=MAX_PIXELS, shorter_side=200).size == (640, 480)


@pytest.mark.parametrize("kind", ["GIF", "BMP", "TIFF", "PPM", "ICO"])
def test_other_formats_are_refused(kind: str) -> None:
    assert _code(pictures.plain(kind=kind)) == "unsupported_image"


def test_what_is_no_image_is_refused() -> None:
    assert _code(b"") == "empty_body"
    assert _code(b"not an image") == "unsupported_image"
    assert _code(b"\x89PNG\r\n\x1a\n") == "image_broken"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_truncated_images_are_refused(kind: str) -> None:
    data = pictures.encoded(pictures.noise((64, 64)), kind)

    assert _code(data[: len(data) // 2]) == "image_broken"


@pytest.mark.parametrize(
    "data",
    [
        pictures.bomb(1001),
        pictures.png_claiming(50_000, 50_000),
        pictures.png_claiming(2**31 - 1, 2**31 - 1),
        pictures.webp_claiming(16_383, 16_383),
    ],
    ids=["real", "claimed", "absurd", "webp"],
)
def test_pixel_bombs_are_refused_before_they_are_decoded(
    data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(_: Image.Image) -> None:
        raise AssertionError("pixels were decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", load)
    assert _code(data) == "image_too_large"


def test_a_promise_of_pixels_that_are_not_there_is_refused() -> None:
    assert _code(pictures.png_claiming(900, 900)) == "image_broken"


_SEEDS = [
    pictures.plain(),
    pictures.plain(kind="JPEG"),
    pictures.plain(kind="WEBP"),
    pictures.rotated_by_exif(6),
    pictures.animated("PNG"),
    pictures.encoded(Image.new("I;16", (4, 4), 77)),
    pictures.encoded(pictures.noise((8, 8)).quantize(4), transparency=b"\x00\x80\xff"),
]


@st.composite
def _damaged_images(draw: st.DrawFn) -> bytes:
    data = bytearray(draw(st.sampled_from(_SEEDS)))
    for _ in range(draw(st.integers(0, 8))):
        place = draw(st.integers(0, max(0, len(data) - 1)))
        if draw(st.booleans()):
            data[place : place + 1] = draw(st.binary(max_size=4))
        else:
            del data[place : place + draw(st.integers(1, 40))]
    return bytes(data)


@pytest.mark.filterwarnings("ignore::UserWarning")
@settings(max_examples=400, deadline=None)
@given(st.one_of(_damaged_images(), st.binary(max_size=64)))
@example(b"RIFF\x00\x00\x00\x00WEBP")
@example(b"\xff\xd8\xff\xe1\x00\x10Exif\x00\x00")
def test_any_bytes_give_an_image_or_a_client_error(data: bytes) -> None:
    try:
        image = _decode(data)
    except Problem as problem:
        assert 400 <= problem.status < 500
    else:
        assert image.mode == "RGB"
        assert image.width * image.height <= MAX_PIXELS


def _uploads() -> list[dict[str, str]]:
    folder = os.environ.get("CLEAD_UPLOADS_DIR")
    if folder is None:
        return []
    entries: list[dict[str, str]] = json.loads((Path(folder) / "manifest.json").read_text())
    return [entry | {"path": str(Path(folder) / entry["file"])} for entry in entries]


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("entry", _uploads(), ids=lambda entry: entry["file"])
def test_collected_uploads(entry: dict[str, str]) -> None:
    try:
        image = decode(Path(entry["path"]).read_bytes(), max_pixels=25_000_000)
    except Problem as problem:
        assert entry["expect"] in ("reject", "either")
        assert 400 <= problem.status < 500
    else:
        assert entry["expect"] in ("ok", "either")
        assert image.mode == "RGB"


def test_metadata_does_not_survive() -> None:
    file = io.BytesIO()
    _decode(pictures.rotated_by_exif(6)).save(file, "PNG")

    assert Image.open(io.BytesIO(file.getvalue())).getexif().get(0x0112) is None


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_small_images_are_quick_and_give_the_same_pixels(kind: str) -> None:
    data = pictures.encoded(pictures.halves((255, 0, 0), (0, 0, 255), (16, 8)), kind)
    opened = open_quick_image(data, max_pixels=MAX_PIXELS)
    assert opened is not None
    np.testing.assert_array_equal(np.asarray(to_rgb(opened)), np.asarray(_decode(data)))


def test_what_may_take_long_is_not_quick() -> None:
    large = pictures.encoded(Image.new("RGB", (QUICK_PIXELS, 2)), "PNG")
    note = PngImagePlugin.PngInfo()
    note.add_text("Comment", "a" * 100_000, zip=True)
    packed = pictures.encoded(Image.new("RGB", (8, 8)), "PNG", pnginfo=note)
    scans = pictures.encoded(Image.new("RGB", (8, 8)), "JPEG") + b"\xff\xda" * QUICK_SCANS
    many = pictures.encoded(Image.new("RGB", (8, 8)), "PNG") + bytes(QUICK_BYTES)
    for data in (large, packed, scans, many):
        assert _decode(data).mode == "RGB"
        assert open_quick_image(data, max_pixels=MAX_PIXELS) is None


@pytest.mark.parametrize("data", [b"", b"no image", pictures.plain((1, 2, 3))[:20]])
def test_what_cannot_be_opened_is_not_quick(data: bytes) -> None:
    assert open_quick_image(data, max_pixels=MAX_PIXELS) is None


def test_an_image_of_too_many_pixels_is_not_quick() -> None:
    assert open_quick_image(pictures.plain((1, 2, 3)), max_pixels=0) is None
