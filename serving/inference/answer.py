"""Writing inference answers of the Open Inference Protocol: a JSON object, and perhaps a tensor behind it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.inference.request import InferenceRequest
from serving.inference.tensors import DATATYPE, OUTPUT, STRINGS, strings_to_bytes


def write_inference_answer(
    request: InferenceRequest,
    logits: NDArray[np.float32],
    *,
    identity: Mapping[str, str],
    classes: Sequence[str],
) -> tuple[bytes, bytes]:
    """The JSON object, and the values that go behind it: none if they are in it.

    Args:
        logits: float32[N, K], finite.
        identity: name, version and sha256 of the model.
        classes: the K labels.
    """
    if request.top:
        rows = [_most_probable(row, classes, request.top) for row in logits]
        values: list[Any] = [name for row in rows for name in row]
        binary = strings_to_bytes(values)
        output: dict[str, Any] = {"name": OUTPUT, "datatype": STRINGS, "shape": [len(rows), len(rows[0])]}
    else:
        values, binary = logits.ravel().tolist(), logits.astype("<f4").tobytes()
        output = {"name": OUTPUT, "datatype": DATATYPE, "shape": list(logits.shape)}
    if request.binary:
        output["parameters"] = {"binary_data_size": len(binary)}
    else:
        output["data"], binary = values, b""
    answer: dict[str, Any] = {
        "model_name": identity["name"],
        "model_version": identity["version"],
        "parameters": {"sha256": identity["sha256"]},
        "outputs": [output],
    }
    if request.id is not None:
        answer["id"] = request.id
    return json.dumps(answer, separators=(",", ":")).encode("ascii"), binary


def _most_probable(logits: NDArray[np.float32], classes: Sequence[str], top: int) -> list[str]:
    """`logit:index:label` of the `top` largest, or of all if there are fewer: Triton's classification."""
    order = np.argsort(-logits, kind="stable")[:top]
    return [f"{logits[index]:f}:{index}:{classes[index]}" for index in order]
