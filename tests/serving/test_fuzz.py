"""Files that were damaged at random: every answer is a prediction or says what is wrong with the file."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from typing import TypeAlias

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from engines.preprocess import model_input
from export.bundle import InputSpec
from serving.problems import KINDS, Problem
from serving.uploads.images import decode, settle_warnings
from tests.serving import pictures
from tests.serving.asking import ask
from tests.serving.conftest import Server

MAX_PIXELS = 40_000
TIMES = int(os.environ.get("FUZZ_TIMES", "1"))
SPEC = InputSpec(height=8, width=8, resize=8)
Mutation: TypeAlias = Callable[[bytes], bytes]


def _files() -> list[bytes]:
    """A file of every kind that is decoded: formats, modes, frames, metadata."""
    image = pictures.noise((24, 17))
    palette = image.quantize(16)
    note = PngImagePlugin.PngInfo()
    note.add_text("Comment", "text" * 20, zip=True)
    note.add_itxt("XML:com.adobe.xmp", '<x tiff:Orientation="6"/>', zip=True)
    return [
        pictures.encoded(image, "PNG"),
        pictures.encoded(image, "JPEG", progressive=True),
        pictures.encoded(image.convert("CMYK"), "JPEG"),
        pictures.encoded(image, "WEBP"),
        pictures.encoded(image, "WEBP", lossless=True),
        pictures.encoded(palette, "PNG", transparency=3),
        pictures.encoded(image.convert("LA"), "PNG"),
        pictures.encoded(Image.fromarray(np.arange(400, dtype=np.uint16).reshape(20, 20)), "PNG"),
        pictures.encoded(image, "PNG", save_all=True, append_images=[image.rotate(90)]),
        pictures.encoded(image, "WEBP", save_all=True, append_images=[image.rotate(90)]),
        pictures.encoded(image, "PNG", icc_profile=bytes(300), pnginfo=note),
        pictures.encoded(image, "JPEG", icc_profile=bytes(300), comment=b"text", dpi=(300, 300)),
        pictures.rotated_by_exif(6),
        pictures.png_claiming(30, 30),
    ]


FILES = _files()
_place = st.floats(0.0, 1.0)


@st.composite
def _mutation(draw: st.DrawFn) -> Mutation:
    start, length = draw(_place), draw(st.integers(0, 64))
    kind = draw(st.sampled_from(["cut", "drop", "insert", "flip", "repeat"]))
    inserted = draw(st.binary(max_size=16))
    bit = draw(st.integers(0, 7))

    def mutate(data: bytes) -> bytes:
        at = int(start * len(data))
        if kind == "cut":
            return data[:at]
        if kind == "drop":
            return data[:at] + data[at + length :]
        if kind == "insert":
            return data[:at] + inserted + data[at:]
        if kind == "repeat":
            return data[:at] + data[at : at + length] * 3 + data[at + length :]
        return data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :] if at < len(data) else data

    return mutate


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A file with up to four mutations, or bytes that never were a file."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(min_size=1, max_size=64))
    data = draw(st.sampled_from(FILES))
    for mutate in draw(st.lists(_mutation(), max_size=4)):
        data = mutate(data)
    return data


@pytest.fixture(scope="module", autouse=True)
def _settled() -> None:
    settle_warnings()


@pytest.fixture
def cases(record_property: Callable[[str, object], None]) -> Iterator[list[int]]:
    """Grows by one with each case; how many there were stands in the report of a test run."""
    counted: list[int] = []
    yield counted
    record_property("cases", len(counted))


def test_the_files_themselves_are_decoded() -> None:
    decoded = [decode(data, max_pixels=MAX_PIXELS) for data in FILES[:-1]]
    assert all(image.mode == "RGB" for image in decoded)


@settings(
    max_examples=600 * TIMES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=damaged())
def test_a_damaged_file_is_an_image_or_a_problem(data: bytes, cases: list[int]) -> None:
    cases.append(1)
    try:
        pixels = model_input(decode(data, max_pixels=MAX_PIXELS, shorter_side=SPEC.resize), SPEC)
    except Problem as problem:
        assert problem.status < 500
        assert problem.detail and problem.code in KINDS
    else:
        assert pixels.shape == (3, 8, 8) and pixels.dtype == np.float32
        assert 0.0 <= pixels.min() <= pixels.max() <= 1.0


@settings(max_examples=80 * TIMES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=damaged(),
    path=st.sampled_from(["/classify", "/probe?eps=0.1&steps=1&restarts=1"]),
    content_type=st.sampled_from(["image/png", "image/jpeg", "image/webp", "application/octet-stream"]),
)
def test_no_damaged_upload_makes_the_server_fail(
    server: Server, data: bytes, path: str, content_type: str, cases: list[int]
) -> None:
    cases.append(1)
    reply = ask(server.port, "POST", path, data, content_type)
    content = json.loads(reply.body)
    assert reply.status < 500, content
    if reply.status == 200:
        assert content["model"]["name"] == "colors"
    else:
        assert content["code"] in KINDS and content["detail"] and content["request_id"]
