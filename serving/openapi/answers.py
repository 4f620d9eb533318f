"""What the paths that only tell something answer, for the OpenAPI document."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

Json = dict[str, Any]
_STRING: Json = {"type": "string"}
_BOOLEAN: Json = {"type": "boolean"}
_INTEGER: Json = {"type": "integer"}
_STRING_OR_NULL: Json = {"type": ["string", "null"]}
_STRINGS: Json = {"type": "array", "items": _STRING}
_MODEL: Json = {"$ref": "#/components/schemas/Model"}


def _object(**properties: Json) -> Json:
    return {"type": "object", "required": list(properties), "properties": properties}


def _listed(**properties: Json) -> Json:
    return {"type": "array", "items": _object(**properties)}


_LIVE = _object(live={"const": True})
_READY = _object(
    ready={"const": True},
    model=_MODEL,
    engine=_object(engine=_STRING, provider=_STRING, device=_STRING, version=_STRING, unused_gpu=_BOOLEAN),
    probe=_BOOLEAN,
    worker=_INTEGER,
    workers=_INTEGER,
    refused=_listed(model=_STRING, reason=_STRING),
)
_CARD = _object(model=_MODEL, manifest=_object(name=_STRING, version=_STRING, classes=_STRINGS))
_TENSORS = _listed(name=_STRING, datatype=_STRING, shape={"type": "array", "items": _INTEGER})
_IDENTITY = {"name": _STRING, "parameters": _object(version=_STRING, sha256=_STRING)}
_TENSORS_OF_MODEL = _object(
    **_IDENTITY, versions=_STRINGS, platform=_STRING, inputs=_TENSORS, outputs=_TENSORS
)
_MODEL_READY = _object(ready={"const": True}, **_IDENTITY)

ANSWERS: Mapping[str, Json] = MappingProxyType(
    {
        "/models": _object(
            default=_STRING_OR_NULL,
            models=_listed(
                name=_STRING,
                version=_STRING,
                sha256=_STRING_OR_NULL,
                loaded=_BOOLEAN,
                current=_BOOLEAN,
                error=_STRING_OR_NULL,
            ),
        ),
        "/models/{name}": _CARD,
        "/models/{name}/{version}": _CARD,
        "/livez": _LIVE,
        "/readyz": _READY,
        "/openapi.json": _object(openapi=_STRING, info={"type": "object"}, paths={"type": "object"}),
        "/ui/settings.json": {"type": "object"},
        "/v2": _object(name=_STRING, version=_STRING, extensions=_STRINGS),
        "/v2/health/live": _LIVE,
        "/v2/health/ready": _READY,
        "/v2/repository/index": _listed(
            name=_STRING,
            version=_STRING,
            state={"type": "string", "enum": ["READY", "UNAVAILABLE"]},
            reason=_STRING,
        ),
        "/v2/models/{name}": _TENSORS_OF_MODEL,
        "/v2/models/{name}/ready": _MODEL_READY,
        "/v2/models/{name}/versions/{version}": _TENSORS_OF_MODEL,
        "/v2/models/{name}/versions/{version}/ready": _MODEL_READY,
    }
)
"""The schema of the JSON that a path answers with 200."""
