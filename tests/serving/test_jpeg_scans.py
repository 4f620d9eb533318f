"""The scans of a JPEG: each passes over the whole image again, so they are counted before it is decoded."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from serving.problems import Problem
from serving.uploads.images import decode
from tests.serving import pictures

MAX_PIXELS = 1_000_000


def _decode(data: bytes) -> Image.Image:
    return decode(data, max_pixels=MAX_PIXELS)


def _code(data: bytes) -> str:
    with pytest.raises(Problem) as caught:
        _decode(data)
    return caught.value.code


def test_a_jpeg_of_endless_scans_is_refused() -> None:
    data = pictures.encoded(pictures.noise((16, 16)), "JPEG", progressive=True)
    scan = data[data.rindex(b"\xff\xda") : -2]

    assert _decode(data).size == (16, 16)
    assert _code(data[:-2] + scan * 200 + data[-2:]) == "image_broken"


@pytest.mark.parametrize(
    "segment",
    [b"\xff\xfe\xff\xff" + b"\xff\xd9" * 32766 + b"\xff", b"\xff\x05\xff\xff", b"\xff\xe0\x00\x02" * 5000],
    ids=["the end of the image in a comment", "a marker without a length", "endless segments"],
)
def test_no_segment_hides_endless_scans(segment: bytes) -> None:
    data = pictures.encoded(pictures.noise((16, 16)), "JPEG", progressive=True)
    start = data.rindex(b"\xff\xda")
    scan = data[start:-2]

    assert _code(data[:start] + segment + scan * 200 + data[-2:]) == "image_broken"


@pytest.mark.parametrize("appended", [True, False], ids=["after the image", "in a segment"])
def test_bytes_that_look_like_scans_are_no_scans(appended: bool) -> None:
    data = pictures.encoded(pictures.noise((16, 16)), "JPEG")
    film = b"\xff\xda" * 30_000
    segment = b"\xff\xef" + (len(film) + 2).to_bytes(2) + film

    assert _decode(data + film if appended else data[:2] + segment + data[2:]).size == (16, 16)


def test_the_scans_of_an_appended_picture_do_not_count() -> None:
    first, second = (
        pictures.encoded(pictures.noise((16, 16), seed), "JPEG", progressive=True) for seed in (0, 1)
    )
    scan = second[second.rindex(b"\xff\xda") : -2]
    np.testing.assert_array_equal(
        np.asarray(_decode(first + second[:-2] + scan * 200 + second[-2:])), np.asarray(_decode(first))
    )
