"""What an upload will cost, by its header alone."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from serving.uploads.image_cost import HEAVY_PIXELS, MOST_PARTS, SLOW_PIXELS, Cost, decoding_cost
from serving.uploads.image_parts import JPEG, START_OF_SCAN
from tests.serving import pictures

SMALL, SLOW, HEAVY = Cost(False, False), Cost(True, False), Cost(True, True)
EMPTY_SEGMENT = b"\xff\xe1\0\2"
SIDES = {SMALL: 700, SLOW: 1900, HEAVY: 2100}


def _chunk(name: bytes, data: bytes = b"") -> bytes:
    return len(data).to_bytes(4) + name + data + bytes(4)


def _cost(*uploads: bytes, shorter_side: int = 224) -> Cost:
    return decoding_cost(uploads, shorter_side=shorter_side)


@pytest.mark.parametrize("expected", SIDES)
@pytest.mark.parametrize("mode", ["1", "RGBA"])
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PNG", {}),
        ("WEBP", {"lossless": True, "method": 0}),
        ("WEBP", {"method": 0}),
        ("WEBP", {"exif": b"x"}),
    ],
    ids=["PNG", "lossless", "lossy", "extended"],
)
def test_pixels_decide(kind: str, options: dict[str, object], mode: str, expected: Cost) -> None:
    side = SIDES[expected]
    assert _cost(pictures.encoded(Image.new(mode, (side, side)), kind, **options)) == expected


@pytest.mark.parametrize(
    ("mode", "options", "expected"),
    [
        # Reduced while it is decoded, as far as the model allows.
        ("RGB", {}, SLOW),
        ("RGB", {"progressive": True}, HEAVY),
        ("L", {}, HEAVY),
        ("CMYK", {}, HEAVY),
    ],
)
def test_a_jpeg_costs_what_is_held_of_it(mode: str, options: dict[str, object], expected: Cost) -> None:
    jpeg = pictures.encoded(Image.new(mode, (2100, 2100)), "JPEG", **options)
    assert _cost(jpeg) == expected
    assert _cost(jpeg, shorter_side=600).heavy


def test_each_scan_of_a_progressive_jpeg_counts() -> None:
    image = Image.new("RGB", (400, 400))
    assert _cost(pictures.encoded(image, "JPEG")) == SMALL
    assert _cost(pictures.encoded(image, "JPEG", progressive=True)) == SLOW


def test_several_images_take_longer_but_no_more_memory() -> None:
    one = pictures.bomb(600)
    assert _cost(one) == SMALL
    assert _cost(one, one) == SLOW
    assert _cost(*[one] * (HEAVY_PIXELS // 600**2 + 1)) == SLOW


def test_a_jpeg_of_one_scan_for_each_colour_is_kept_whole() -> None:
    jpeg = pictures.encoded(Image.new("RGB", (2100, 2100)), "JPEG")
    scan = jpeg.index(START_OF_SCAN)
    assert _cost(jpeg) == SLOW
    assert _cost(jpeg[:scan] + b"\xff\xda\0\x08\1" + jpeg[scan + 5 :]) == HEAVY


@pytest.mark.parametrize(
    "hiding",
    [EMPTY_SEGMENT + b"\0", b"\xff\xf0", b"\xff\0", EMPTY_SEGMENT * MOST_PARTS],
    ids=["junk", "a bare marker", "an escaped byte", "many segments"],
)
def test_a_jpeg_that_hides_its_size_counts_as_large(hiding: bytes) -> None:
    plain = pictures.plain(kind="JPEG")
    assert _cost(plain[:2] + EMPTY_SEGMENT * (MOST_PARTS - 10) + plain[2:]) == SMALL
    assert _cost(plain[:2] + hiding + plain[2:]) == HEAVY


def test_a_png_that_hides_its_size_counts_as_large() -> None:
    plain = pictures.plain()
    header, other = plain[8:33], b"\0\0\0\x08aaAa" + bytes(12)
    assert _cost(plain[:33] + other * (MOST_PARTS - 3) + plain[33:]) == SMALL
    for start in (other + header, header + header, header + other * MOST_PARTS):
        assert _cost(plain[:8] + start + plain[33:]) == HEAVY


def test_a_header_behind_a_frame_or_pixels_that_pillow_skips_makes_a_png_large() -> None:
    plain = pictures.plain()
    header = plain[8:33]
    for skipped in (_chunk(b"fdAT", bytes(4)), _chunk(b"IDAT")):
        assert _cost(plain[:33] + skipped + plain[33:]) == SMALL
        assert _cost(plain[:33] + skipped + header + plain[33:]) == HEAVY


@pytest.mark.parametrize("late", [False, True], ids=["before the pixels", "behind the pixels"])
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (_chunk(b"zTXt", b"Comment\0\0"), SLOW),
        (_chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0"), SLOW),
        (_chunk(b"iTXt", b"k" * 100), SLOW),
        (_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0"), SMALL),
        (_chunk(b"tEXt", b"Comment\0\1"), SMALL),
    ],
)
def test_a_png_with_packed_text_is_slow(text: bytes, expected: Cost, late: bool) -> None:
    plain = pictures.plain()
    assert _cost(plain[:-12] + text + plain[-12:] if late else plain[:33] + text + plain[33:]) == expected


def test_a_png_of_many_chunks_behind_its_first_pixels_is_slow() -> None:
    plain, empty = pictures.plain(), _chunk(b"IDAT")
    assert _cost(plain[:-12] + empty * (MOST_PARTS - 3) + plain[-12:]) == SMALL
    assert _cost(plain[:-12] + empty * MOST_PARTS + plain[-12:]) == SLOW


@given(
    st.binary(max_size=100),
    st.sampled_from([b"", JPEG, b"\x89PNG\r\n\x1a\n", b"RIFF1234WEBPVP8 ", b"RIFF1234WEBPVP8X"]),
)
@example(b"", JPEG + b"\xff" * SLOW_PIXELS)
@example(b"\0", b"\xff\xd8\xff\xc0")
def test_any_bytes_have_a_cost(rest: bytes, start: bytes) -> None:
    assert isinstance(_cost(start + rest), Cost)
