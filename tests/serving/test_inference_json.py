"""How much of a tensor is read as JSON."""

from __future__ import annotations

import json
import math

import pytest

from export.manifest import InputSpec
from serving.inference.request import InferenceRequest, read_inference_request
from serving.problems import Problem


@pytest.mark.parametrize(("side", "most"), [(32, 32), (224, 1), (600, 1)])
def test_only_so_many_numbers_are_read_as_json_and_no_fewer_than_an_image(side: int, most: int) -> None:
    spec = InputSpec(height=side, width=side, resize=side)

    def read(count: int) -> InferenceRequest:
        shape = [count, 3, side, side]
        data = b"[" + b"0," * (math.prod(shape) - 1) + b"0]"
        tensor = {"name": "images", "datatype": "FP32", "shape": shape, "data": None}
        body = json.dumps({"inputs": [tensor]}).encode().replace(b"null", data)
        return read_inference_request(body, header_length=None, spec=spec, max_images=32)

    assert len(read(most).images) == most
    with pytest.raises(Problem) as caught:
        read(most + 1)
    assert caught.value.code == ("too_many_images" if most == 32 else "malformed_inference_request")
    if most == 1:
        assert "more parts than 1 images need" in caught.value.detail
        assert "as binary data behind the JSON (binary_data_size) 32 are" in caught.value.detail
