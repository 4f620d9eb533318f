"""Reading inference requests of the Open Inference Protocol: a JSON object, and perhaps a tensor behind it.

Sources: inference_rest.md of the Open Inference Protocol; NVIDIA Triton's extensions "binary tensor data" and
"classification".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import from_json

from export.manifest import InputSpec
from serving.inference.tensors import (
    INPUT,
    OUTPUT,
    SHOWN,
    check_shape,
    from_bytes,
    from_lists,
    invalid_tensor,
)
from serving.problems import Problem

LENGTH_HEADER = "Inference-Header-Content-Length"
MAX_JSON_VALUES = 1 << 18
"""Numbers of a tensor that is sent as JSON, or those of one image: reading them keeps Python's interpreter,
and so every other request of the process, for about 20 ms."""
# Apart from "data", a request has a handful of members and lists.
_MOST_OTHERS = 1000
_Few = Field(max_length=16, fail_fast=True)


class Message(BaseModel):
    """Base of what is read from JSON: strict types. Unknown members belong to extensions, and are ignored."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")


class _InputParameters(Message):
    binary_data_size: int | None = None
    shared_memory_region: Any = None


class _Input(Message):
    name: str
    shape: Annotated[list[int], _Few]
    datatype: str
    parameters: _InputParameters | None = None
    data: Any = None


class _OutputParameters(Message):
    binary_data: bool | None = None
    classification: Annotated[int, Field(ge=0)] | None = None
    shared_memory_region: Any = None


class _Output(Message):
    name: str
    parameters: _OutputParameters | None = None


class _RequestParameters(Message):
    binary_data_output: bool | None = None


class _Request(Message):
    id: str | None = None
    parameters: _RequestParameters | None = None
    inputs: Annotated[list[_Input], _Few]
    outputs: Annotated[list[_Output], _Few] | None = None


M = TypeVar("M", bound=Message)


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceRequest:
    """What was asked for.

    `images` is float32[N, 3, H, W] in [0, 1] and may lie in the body that was read. `binary` is whether the
    output is wanted behind the JSON, `top` how many class names are wanted instead of logits (0: logits).
    """

    images: NDArray[np.float32]
    id: str | None
    binary: bool
    top: int


def read_inference_request(
    body: bytes, *, header_length: int | None, spec: InputSpec, max_images: int
) -> InferenceRequest:
    """Reads an inference request for a model that takes `spec`.

    Args:
        body: the JSON object, and the values of its tensor behind it if they are not in it.
        header_length: bytes of the JSON object; None if it is the whole body.
        max_images: the largest batch.

    Raises:
        Problem: malformed_inference_request, invalid_tensor, invalid_parameter or too_many_images.
    """
    end = len(body) if header_length is None else header_length
    if end > len(body):
        raise malformed(f"{LENGTH_HEADER} is {end}, but the body has {len(body)} bytes")
    document = body[:end]
    _check_length(document, spec, max_images)
    request = read_json(document, _Request)
    output = _output(request.outputs or ())
    default = request.parameters is not None and request.parameters.binary_data_output
    tensor = _tensor(request.inputs)
    shape = check_shape(tensor.datatype, tensor.shape, spec=spec, max_images=max_images)
    return InferenceRequest(
        images=_images(tensor, body, shape=shape, end=end),
        id=request.id,
        binary=bool(default if output.binary_data is None else output.binary_data),
        top=output.classification or 0,
    )


def read_json(document: bytes, kind: type[M]) -> M:
    """Reads one JSON object.

    Raises:
        Problem: malformed_inference_request; names the member.
    """
    try:
        return kind.model_validate(from_json(document, allow_inf_nan=False))
    except ValidationError as error:
        reasons = [
            f"{'.'.join(map(str, reason['loc'])) or 'the JSON'}: {reason['msg']}"
            for reason in error.errors(include_url=False, include_context=False, include_input=False)
        ]
        raise malformed("; ".join(reasons[:3])) from None
    except ValueError as error:
        raise malformed(
            f"the first {len(document)} bytes of the body are not JSON ({error}); {LENGTH_HEADER} says where "
            "the JSON ends if a tensor follows"
        ) from None


def malformed(detail: str) -> Problem:
    """The problem of a request that is not one of the protocol."""
    return Problem("malformed_inference_request", f"{detail}: send what GET /docs describes for this path")


def _check_length(document: bytes, spec: InputSpec, max_images: int) -> None:
    """Refuses JSON of more parts than the images that may be sent so need, before it is read: that would hold
    up every other request of this process, and an empty list takes twenty times as much memory as its text.
    """
    lists = 1 + spec.channels * (1 + spec.height)
    values = spec.channels * spec.height * spec.width
    images = min(max_images, max(1, MAX_JSON_VALUES // values))
    if sum(map(document.count, (b"[", b"{", b","))) > _MOST_OTHERS + images * (lists + values):
        raise malformed(
            f"the JSON has more parts than {images} images need, and no more are accepted as JSON; as binary "
            f"data behind the JSON (binary_data_size) {max_images} are"
        )


def _output(outputs: Sequence[_Output]) -> _OutputParameters:
    _check_names("output", [output.name for output in outputs], OUTPUT)
    parameters = (outputs[0].parameters if outputs else None) or _OutputParameters()
    _refuse_shared_memory(parameters.shared_memory_region)
    return parameters


def _tensor(inputs: Sequence[_Input]) -> _Input:
    _check_names("input", [tensor.name for tensor in inputs], INPUT)
    if not inputs:
        raise invalid_tensor(f"there are no inputs: send {INPUT!r}")
    return inputs[0]


def _images(
    tensor: _Input, body: bytes, *, shape: tuple[int, int, int, int], end: int
) -> NDArray[np.float32]:
    parameters = tensor.parameters or _InputParameters()
    _refuse_shared_memory(parameters.shared_memory_region)
    size, behind = parameters.binary_data_size, len(body) - end
    if (tensor.data is None) == (size is None):
        raise invalid_tensor(
            f"give the values of {INPUT!r} once: as 'data', or behind the JSON with 'binary_data_size'"
        )
    if behind != (size or 0):
        raise invalid_tensor(
            f"{behind} bytes stand behind the JSON, but the parameter binary_data_size of {INPUT!r} is "
            f"{str(size)[:SHOWN]}; the header {LENGTH_HEADER} says where the JSON ends"
        )
    return from_lists(tensor.data, shape) if size is None else from_bytes(body, shape, offset=end)


def _check_names(kind: str, names: Sequence[str], known: str) -> None:
    for name in names:
        if name != known:
            raise invalid_tensor(f"there is no {kind} {name[:SHOWN]!r}; this model has one, {known!r}")
    if len(names) > 1:
        raise invalid_tensor(f"the {kind} {known!r} is there {len(names)} times: name it once")


def _refuse_shared_memory(region: Any) -> None:
    if region is not None:
        raise Problem(
            "invalid_parameter",
            "there is no shared memory with this server: send tensors in the body",
            parameter="shared_memory_region",
        )
