"""Reading inference requests: tensors in the JSON and behind it, and every kind of wrong one."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from export.manifest import InputSpec
from serving.inference.request import InferenceRequest, read_inference_request
from serving.problems import Problem

SPEC = InputSpec(height=2, width=3, resize=3)
SHAPE = [2, 3, 2, 3]
IMAGES = np.random.default_rng(0).random(SHAPE).astype(np.float32)
FLAT = IMAGES.ravel().tolist()
RAW = IMAGES.astype("<f4").tobytes()
IN_JSON: dict[str, Any] = {"name": "images", "datatype": "FP32", "shape": SHAPE, "data": FLAT}
BEHIND: dict[str, Any] = {
    "name": "images", "datatype": "FP32", "shape": SHAPE, "parameters": {"binary_data_size": len(RAW)},
}  # fmt: skip


def _read(body: bytes, header_length: int | None = None) -> InferenceRequest:
    return read_inference_request(body, header_length=header_length, spec=SPEC, max_images=4)


def _json(tensor: object = IN_JSON, **members: object) -> bytes:
    return json.dumps({"inputs": [tensor]} | members).encode()


def _refused(code: str, body: bytes, header_length: int | None = None) -> str:
    with pytest.raises(Problem) as caught:
        _read(body, header_length)
    assert caught.value.code == code
    return caught.value.detail


@pytest.mark.parametrize("data", [FLAT, IMAGES.tolist()], ids=["flat", "nested"])
def test_values_in_the_json(data: object) -> None:
    request = _read(_json(IN_JSON | {"data": data}, id="a"))

    np.testing.assert_array_equal(request.images, IMAGES)
    assert (request.images.dtype, request.id, request.binary, request.top) == (np.float32, "a", False, 0)


@pytest.mark.parametrize("spaces", range(4))
def test_values_behind_the_json_wherever_it_ends(spaces: int) -> None:
    document = _json(BEHIND) + b" " * spaces

    request = _read(document + RAW, len(document))

    np.testing.assert_array_equal(request.images, IMAGES)
    assert request.images.flags.aligned
    assert request.id is None


def test_a_full_batch_of_larger_images_is_not_too_many_parts() -> None:
    spec = InputSpec(height=40, width=30, resize=40)
    full = np.random.default_rng(1).random((5, 3, 40, 30)).astype(np.float32)
    for data in (full.tolist(), full.ravel().tolist()):
        body = _json(IN_JSON | {"shape": list(full.shape), "data": data})

        request = read_inference_request(body, header_length=None, spec=spec, max_images=5)

        np.testing.assert_array_equal(request.images, full)


def test_aligned_values_are_not_copied() -> None:
    document = _json(BEHIND)
    # The first byte of a bytes object lies at an address that is a multiple of its word size.
    document += b" " * (-len(document) % 8)
    body = document + RAW

    images = _read(body, len(document)).images

    assert np.shares_memory(images, np.frombuffer(body, np.uint8))


@pytest.mark.parametrize(
    ("members", "binary", "top"),
    [
        ({"parameters": {"binary_data_output": True}}, True, 0),
        ({"parameters": {"binary_data_output": True}, "outputs": []}, True, 0),
        ({"outputs": [{"name": "logits"}]}, False, 0),
        ({"outputs": [{"name": "logits", "parameters": {"binary_data": True}}]}, True, 0),
        (
            {
                "parameters": {"binary_data_output": True, "priority": 3},
                "outputs": [{"name": "logits", "parameters": {"binary_data": False, "classification": 2}}],
            },
            False,
            2,
        ),
        ({"outputs": None, "parameters": None, "id": None, "model_name": "x"}, False, 0),
    ],
)
def test_how_the_output_is_wanted(members: dict[str, object], binary: bool, top: int) -> None:
    request = _read(_json(**members))

    assert (request.binary, request.top) == (binary, top)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": "gradient"}, ["no input 'gradient'", "'images'"]),
        ({"datatype": "FP64"}, ["'FP64'", "FP32"]),
        ({"shape": [2, 3, 3, 2]}, ["[2, 3, 3, 2]", "[N, 3, 2, 3]", "1 to 4"]),
        ({"shape": [6, 2, 3]}, ["[6, 2, 3]", "[N, 3, 2, 3]"]),
        ({"shape": []}, ["[]", "[N, 3, 2, 3]"]),
        ({"shape": [0, 3, 2, 3], "data": []}, ["[0, 3, 2, 3]", "1 to 4"]),
        ({"shape": [-2, 3, 2, 3]}, ["[-2, 3, 2, 3]"]),
        ({"shape": [2**62, 3, 2**62, 3]}, ["[N, 3, 2, 3]"]),
        ({"shape": [10**4000, 3, 2, 10**4000]}, ["[N, 3, 2, 3]"]),
        ({"data": FLAT[:-1]}, ["36 numbers"]),
        ({"data": [FLAT]}, ["36 numbers"]),
        ({"data": IMAGES.reshape(6, 2, 3).tolist()}, ["36 numbers"]),
        ({"data": [*FLAT[:-1], FLAT[-1:]]}, ["no number"]),
        ({"data": 0.5}, ["36 numbers"]),
        ({"data": "0.5"}, ["36 numbers"]),
        ({"data": {}}, ["36 numbers"]),
        ({"data": ["0.5"] * 36}, ["no number"]),
        ({"data": [True] * 36}, ["no number"]),
        ({"data": [*FLAT[:-1], True]}, ["no number"]),
        ({"data": [*FLAT[:-1], None]}, ["no number"]),
        ({"data": [*FLAT[:-1], 1.5]}, ["to 1.5", "[0, 1]"]),
        ({"data": [*FLAT[:-1], -0.25]}, ["-0.25 to", "[0, 1]"]),
        ({"data": [*FLAT[:-1], 1e300]}, ["inf", "[0, 1]"]),
        ({"data": [*FLAT[:-1], 10**4000]}, ["[0, 1]"]),
        ({"data": None}, ["'data'", "'binary_data_size'"]),
        ({"parameters": {"binary_data_size": 144}}, ["'data'", "'binary_data_size'"]),
    ],
)
def test_a_wrong_tensor_is_refused_with_what_is_accepted(change: dict[str, object], words: list[str]) -> None:
    detail = _refused("invalid_tensor", _json(IN_JSON | change))

    assert [word for word in words if word not in detail] == []
    assert len(detail) < 400


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ([], "no inputs"),
        ([IN_JSON, IN_JSON], "2 times"),
        ([IN_JSON, IN_JSON | {"name": "label"}], "'label'"),
    ],
)
def test_there_is_one_input(inputs: object, words: str) -> None:
    assert words in _refused("invalid_tensor", _json(inputs=inputs))


@pytest.mark.parametrize(
    ("outputs", "words"),
    [([{"name": "gradient"}], "'gradient'"), ([{"name": "logits"}, {"name": "logits"}], "2 times")],
)
def test_there_is_one_output(outputs: object, words: str) -> None:
    assert words in _refused("invalid_tensor", _json(outputs=outputs))


def test_more_images_than_allowed_are_said_to_be_too_many() -> None:
    assert "4" in _refused("too_many_images", _json(IN_JSON | {"shape": [5, 3, 2, 3]}))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1.0001, -1e-30])
def test_values_behind_the_json_must_be_pixels(value: float) -> None:
    raw = np.array([*FLAT[:-1], value], "<f4").tobytes()

    assert "[0, 1]" in _refused("invalid_tensor", _json(BEHIND) + raw, len(_json(BEHIND)))


@pytest.mark.parametrize(
    ("size", "raw"),
    [
        (144, RAW[:-4]),
        (140, RAW[:-4]),
        (143, RAW[:-1]),
        (148, RAW + b"1234"),
        (-144, RAW),
        (10**4000, RAW),
        (0, b""),
    ],
)
def test_bytes_that_do_not_match_are_refused(size: int, raw: bytes) -> None:
    document = _json(BEHIND | {"parameters": {"binary_data_size": size}})

    assert "bytes stand behind the JSON" in _refused("invalid_tensor", document + raw, len(document))


def test_bytes_that_belong_to_no_input_are_refused() -> None:
    assert "4 bytes" in _refused("invalid_tensor", _json() + b"1234", len(_json()))


@pytest.mark.parametrize(
    ("body", "header_length", "words"),
    [
        (b"", None, "not JSON"),
        (b"{}", None, "inputs"),
        (b"[]", None, "the JSON"),
        (b'{"inputs": 1}', None, "inputs"),
        (_json("text"), None, "inputs.0"),
        (_json({"name": "images"}), None, "inputs.0.shape"),
        (_json(IN_JSON | {"shape": [2.0, 3, 2, 3]}), None, "inputs.0.shape.0"),
        (_json(IN_JSON | {"parameters": {"binary_data_size": "144"}}), None, "binary_data_size"),
        (_json(parameters={"binary_data_output": "yes"}), None, "binary_data_output"),
        (_json(outputs=[{"name": "logits", "parameters": {"classification": -1}}]), None, "classification"),
        (_json(id=5), None, "id"),
        (_json(IN_JSON | {"data": [float("nan")] * 36}), None, "not JSON"),
        (_json(BEHIND) + RAW, None, "Inference-Header-Content-Length"),
        (_json(BEHIND) + RAW, 10**15, "10000"),
        (_json(BEHIND) + RAW, 20, "first 20 bytes"),
        (_json(BEHIND) + RAW, 0, "first 0 bytes"),
        (b"[" * 100, None, "not JSON"),
        (b"[" * 1_000_000, None, "more parts"),
        (b'{"inputs": [' + b"{}," * 1_000_000 + b"1]}", None, "more parts"),
        (b'{"inputs": [' + b"1," * 1_000_000 + b"1]}", None, "more parts"),
        (b'{"inputs": [' + b"1," * 500 + b"1]}", None, "inputs.0"),
        (_json(IN_JSON | {"shape": [1] * 17}), None, "inputs.0.shape"),
        (b'{"inputs": [' + b"9" * 5000 + b"]}", None, "not JSON"),
        (b'{"inputs": "\xff"}', None, "not JSON"),
    ],
)
def test_what_is_no_inference_request_is_refused(body: bytes, header_length: int | None, words: str) -> None:
    detail = _refused("malformed_inference_request", body, header_length)

    assert words in detail
    assert len(detail) < 500


@pytest.mark.parametrize(
    "body",
    [
        _json(BEHIND | {"parameters": {"shared_memory_region": "r", "shared_memory_byte_size": 144}}),
        _json(outputs=[{"name": "logits", "parameters": {"shared_memory_region": "r"}}]),
    ],
)
def test_shared_memory_is_refused(body: bytes) -> None:
    assert "shared memory" in _refused("invalid_parameter", body)


def _accepted_or_refused(body: bytes, header_length: int | None) -> None:
    try:
        images = _read(body, header_length).images
    except Problem as problem:
        assert 400 <= problem.status < 500
        assert len(json.dumps(problem.body(request_id="", path="/v2"))) < 2000
    else:
        assert images.dtype == np.float32
        assert images.shape[1:] == (3, 2, 3)
        assert images.min() >= 0 and images.max() <= 1


@given(body=st.binary(max_size=200), header_length=st.none() | st.integers(0, 250))
@example(
    body=b'{"inputs":[{"name":"images","shape":[2,3,2,3],"datatype":"FP32","data":[1e999]}]}',
    header_length=None,
)
def test_any_bytes_are_understood_or_refused(body: bytes, header_length: int | None) -> None:
    _accepted_or_refused(body, header_length)


@given(data=st.data())
def test_a_request_with_some_bytes_changed_is_understood_or_refused(data: st.DataObject) -> None:
    document = _json(BEHIND, parameters={"binary_data_output": True}, outputs=[{"name": "logits"}])
    body = bytearray(document + RAW)
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(body)))

    _accepted_or_refused(bytes(body), len(document))
    _accepted_or_refused(bytes(body[:cut]), data.draw(st.none() | st.integers(0, cut)))


_TEXT = st.text("a1é\0\ud800", max_size=3)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=8,
)


@given(
    tensor=st.fixed_dictionaries({}, optional=dict.fromkeys([*IN_JSON, "parameters"], _VALUES)),
    members=st.fixed_dictionaries(
        {}, optional=dict.fromkeys(["id", "outputs", "parameters", "inputs"], _VALUES)
    ),
)
def test_any_json_is_understood_or_refused(tensor: dict[str, object], members: dict[str, object]) -> None:
    _accepted_or_refused(_json(IN_JSON | tensor, **members), None)
