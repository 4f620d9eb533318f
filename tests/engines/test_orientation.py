"""The orientation in the metadata, as Pillow understands it, without what makes Pillow's reader dangerous."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageOps, PngImagePlugin

from engines.orientation import upright_turn
from engines.rgb import upright_rgb

SHORT = 3


def _exif(order: str, *entries: tuple[int, int, int, bytes]) -> bytes:
    """A TIFF structure of one directory: (tag, type, count, four bytes) each."""
    mark = b"II*\0" if order == "<" else b"MM\0*"
    packed = b"".join(struct.pack(order + "HHI4s", *entry) for entry in entries)
    return mark + struct.pack(order + "IH", 8, len(entries)) + packed + bytes(4)


def _image() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8))


def _file(kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    _image().save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(10))
def test_exif_turns_as_pillow_does(kind: str, order: str, orientation: int) -> None:
    value = struct.pack(order + "HH", orientation, 0)
    data = _file(kind, exif=b"Exif\0\0" + _exif(order, (0x010F, 2, 2, b"x\0\0\0"), (0x0112, SHORT, 1, value)))
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    np.testing.assert_array_equal(
        np.asarray(upright_rgb(Image.open(io.BytesIO(data)))), np.asarray(expected.convert("RGB"))
    )


@pytest.mark.parametrize(
    "xmp", ['<x tiff:Orientation="6"/>', "<tiff:Orientation>6</tiff:Orientation>", b'tiff:Orientation="6"']
)
def test_xmp_counts_where_exif_is_silent(xmp: str | bytes) -> None:
    assert upright_turn({"xmp": xmp}) is Image.Transpose.ROTATE_270
    upright = _exif("<", (0x0112, SHORT, 1, b"\1\0\0\0"))
    assert upright_turn({"xmp": xmp, "exif": upright}) is None


def test_texts_of_a_png_may_hold_the_metadata_or_share_its_name() -> None:
    turned = _exif("<", (0x0112, SHORT, 1, b"\x06\0\0\0"))
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Raw profile type exif", f"\nexif\n{len(turned):8}\n{turned.hex()}\n")
    texts.add_itxt("exif", "a text of this name")
    image = Image.open(io.BytesIO(_file("PNG", pnginfo=texts)))
    assert upright_rgb(image).size == (4, 6)


@pytest.mark.parametrize(
    "info",
    [
        {},
        {"exif": b""},
        {"exif": b"Exif\0\0II*\0"},
        {"exif": b"Exif\0\0II*\0\xff\xff\xff\xff"},
        {"exif": _exif("<", (0x0112, SHORT, 2, b"\x06\0\0\0"))},
        {"exif": _exif("<", (0x0112, SHORT, 1, b"\x06\0\0\0"))[:-9]},
        {"Raw profile type exif": "\nexif\n  2\nno hexadecimal"},
        {"Raw profile type exif": ""},
        {"xmp": b"tiff:Orientation="},
    ],
)
def test_what_cannot_be_read_turns_nothing(info: dict[str, object]) -> None:
    assert upright_turn(info) is None


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_pillow_is_not_asked_to_copy_what_the_metadata_points_at(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = _file(kind, exif=b"Exif\0\0" + _exif("<", (0x0112, SHORT, 1, b"\x06\0\0\0")), dpi=(72, 72))
    image = Image.open(io.BytesIO(data))

    def refuse(_: Image.Image) -> None:
        pytest.fail("Pillow's reader was called")

    monkeypatch.setattr(Image.Image, "getexif", refuse)
    assert upright_rgb(image).size == (4, 6)
