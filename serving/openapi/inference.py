"""The OpenAPI entries of the Open Inference Protocol."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from serving.inference.compression import ENCODINGS
from serving.inference.request import LENGTH_HEADER
from serving.inference.tensors import DATATYPE, INPUT, OUTPUT, STRINGS
from serving.settings import Settings

Json = dict[str, Any]
BINARY = "application/octet-stream"
_STRING: Json = {"type": "string"}
_BOOLEAN: Json = {"type": "boolean"}
_INTEGER: Json = {"type": "integer", "minimum": 0}
_ADMISSION_PROBLEMS = ("foreign_site", "unauthorized", "forbidden", "rate_limited", "not_ready")
_MODEL_PROBLEMS = (*_ADMISSION_PROBLEMS, "model_not_found", "model_unavailable")
_BODY_PROBLEMS = (*_ADMISSION_PROBLEMS, "malformed_inference_request", "body_too_large", "body_timeout")


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One path of the protocol: each has one method. `content` and `body` are schemas by media type."""

    method: str = "get"
    summary: str
    answer: str
    problems: tuple[str, ...] = _ADMISSION_PROBLEMS
    content: Mapping[str, Json] = field(default_factory=lambda: {"application/json": {}})
    body: Mapping[str, Json] | None = None
    headers: Mapping[str, Json] = field(default_factory=dict)


def open_inference_operations(settings: Settings) -> dict[str, Operation]:
    """The operations by path."""
    operations = {
        "/v2": Operation(summary="Name, version and extensions of the server.", answer="Server metadata."),
        "/v2/health/live": Operation(summary="As `/livez`.", answer="The process answers.", problems=()),
        "/v2/health/ready": Operation(summary="As `/readyz`.", answer="Ready.", problems=("not_ready",)),
        "/v2/repository/index": Operation(
            method="post",
            summary="Lists the models.",
            answer="Every model in the folder, and whether it can be served.",
            problems=_BODY_PROBLEMS,
            body={"application/json": {"type": "object", "properties": {"ready": _BOOLEAN}}},
        ),
    }
    for model in ("/v2/models/{name}", "/v2/models/{name}/versions/{version}"):
        operations |= {
            model: Operation(
                summary="The tensors that a model takes and gives, and its versions.",
                answer="Model metadata.",
                problems=_MODEL_PROBLEMS,
            ),
            f"{model}/ready": Operation(
                summary="Whether a model answers; it is loaded if it is not in memory.",
                answer="Ready.",
                problems=(*_MODEL_PROBLEMS, "deadline_exceeded"),
            ),
            f"{model}/infer": _infer(settings),
        }
    return operations


def _infer(settings: Settings) -> Operation:
    return Operation(
        method="post",
        summary=f"Logits, or the most probable classes, of the tensor {INPUT!r}: {DATATYPE} [N, 3, H, W] in "
        f"[0, 1], N at most {settings.max_images}. Tensors stand in the JSON or, little-endian, behind it.",
        answer="The JSON, and behind it the tensor if it was asked for as binary data.",
        problems=(
            *_BODY_PROBLEMS, "unsupported_media_type", "too_many_images", "invalid_tensor",
            "invalid_parameter", "model_not_found", "model_unavailable", "overloaded",
            "engine_failed", "deadline_exceeded",
        ),
        content={"application/json": _answer(), BINARY: {"type": "string", "format": "binary"}},
        body={"application/json": _request(), BINARY: {"type": "string", "format": "binary"}},
        headers={
            LENGTH_HEADER: _INTEGER | {"description": "Bytes of the JSON, if a tensor stands behind it."},
            "Content-Encoding": {"type": "string", "enum": list(ENCODINGS)},
        },
    )  # fmt: skip


def _request() -> Json:
    shape = {"type": "array", "items": _INTEGER, "minItems": 4, "maxItems": 4}
    tensor = _optional(
        name={"const": INPUT},
        datatype={"const": DATATYPE},
        shape=shape,
        parameters=_optional(binary_data_size=_INTEGER),
        data={"type": "array", "description": "Numbers in one flat list, or in lists nested as `shape`."},
    ) | {"required": ["name", "datatype", "shape"]}
    wanted = _optional(binary_data=_BOOLEAN, classification=_INTEGER)
    output = _optional(name={"const": OUTPUT}, parameters=wanted) | {"required": ["name"]}
    return _optional(
        id=_STRING,
        parameters=_optional(binary_data_output=_BOOLEAN),
        inputs={"type": "array", "minItems": 1, "maxItems": 1, "items": tensor},
        outputs={"type": "array", "maxItems": 1, "items": output},
    ) | {"required": ["inputs"]}


def _answer() -> Json:
    tensor = _optional(
        name={"const": OUTPUT},
        datatype={"enum": [DATATYPE, STRINGS]},
        shape={"type": "array", "items": _INTEGER},
        parameters=_optional(binary_data_size=_INTEGER),
        data={"type": "array"},
    )
    return _optional(
        model_name=_STRING,
        model_version=_STRING,
        id=_STRING,
        parameters=_optional(sha256=_STRING),
        outputs={"type": "array", "items": tensor},
    )


def _optional(**properties: Json) -> Json:
    return {"type": "object", "properties": properties}
