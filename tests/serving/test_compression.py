"""Compressed request bodies: inflated within a limit, and never trusted."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from serving.inference.compression import content_encoding, decoded
from serving.problems import Problem

COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "deflate": zlib.compress}
encodings = pytest.mark.parametrize("encoding", COMPRESSORS)


def _refused(code: str, body: bytes, encoding: str, *, max_bytes: int = 1000) -> None:
    with pytest.raises(Problem) as caught:
        decoded(body, encoding, max_bytes=max_bytes)
    assert caught.value.code == code


@encodings
def test_as_many_bytes_as_allowed_come_back_and_one_more_does_not(encoding: str) -> None:
    body = COMPRESSORS[encoding](b"x" * 1000)

    assert decoded(body, encoding, max_bytes=1000) == b"x" * 1000
    _refused("body_too_large", body, encoding, max_bytes=999)


@encodings
def test_a_bomb_is_not_inflated(encoding: str) -> None:
    _refused("body_too_large", COMPRESSORS[encoding](bytes(20_000_000)), encoding)


@encodings
@pytest.mark.parametrize(
    "damage",
    [
        lambda body: b"",
        lambda body: body[:-1],
        lambda body: body + b"x",
        lambda body: b"{}" + body,
        lambda body: body[:-6] + bytes(6),
    ],
    ids=["empty", "cut off", "longer", "another format", "wrong checksum"],
)
def test_a_damaged_stream_is_refused(encoding: str, damage: Callable[[bytes], bytes]) -> None:
    _refused("malformed_inference_request", damage(COMPRESSORS[encoding](b"some values")), encoding)


@given(body=st.binary(max_size=100), encoding=st.sampled_from(list(COMPRESSORS)))
def test_any_bytes_are_inflated_or_refused(body: bytes, encoding: str) -> None:
    try:
        assert len(decoded(body, encoding, max_bytes=50)) <= 50
    except Problem as problem:
        assert 400 <= problem.status < 500


@pytest.mark.parametrize(
    ("header", "encoding"),
    [({}, "identity"), ({"Content-Encoding": ""}, "identity"), ({"Content-Encoding": " GZIP "}, "gzip")],
)
def test_the_header_names_the_encoding(header: dict[str, str], encoding: str) -> None:
    assert content_encoding(Headers(header)) == encoding


@pytest.mark.parametrize("header", ["br", "gzip, deflate", "x" * 1000])
def test_another_encoding_is_refused_with_those_that_are_accepted(header: str) -> None:
    with pytest.raises(Problem) as caught:
        content_encoding(Headers({"Content-Encoding": header}))

    assert (caught.value.code, caught.value.status) == ("unsupported_media_type", 415)
    assert "gzip" in caught.value.detail
    assert caught.value.headers["Accept-Encoding"] == "identity, gzip, deflate"
