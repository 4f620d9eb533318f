"""The OpenAPI document, written from the settings and from the tables that the code itself uses."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from serving.openapi.answers import ANSWERS
from serving.openapi.inference import Operation, open_inference_operations
from serving.openapi.parameters import classify_parameter_schemas, probe_parameter_schemas
from serving.problems import KINDS, MEDIA_TYPE
from serving.settings import Settings
from serving.uploads.body import IMAGE_PART, MULTIPART
from serving.uploads.images import MEDIA_TYPES

Json = dict[str, Any]
_STRING: Json = {"type": "string"}
_NUMBER: Json = {"type": "number"}
_INTEGER: Json = {"type": "integer"}
_NUMBER_OR_NULL: Json = {"type": ["number", "null"]}
_STRING_OR_NULL: Json = {"type": ["string", "null"]}
_UNIT: Json = {"type": "number", "minimum": 0, "maximum": 1}
_KEY_PROBLEMS = ("unauthorized", "rate_limited", "not_ready")
_ADMISSION_PROBLEMS = ("foreign_site", *_KEY_PROBLEMS)
_UPLOAD_PROBLEMS = (
    "empty_body", "malformed_multipart", *_ADMISSION_PROBLEMS, "forbidden", "body_timeout", "body_too_large",
    "image_too_large", "too_many_images", "unsupported_media_type", "unsupported_image", "image_broken",
    "image_missing", "invalid_parameter", "model_not_found", "overloaded", "model_unavailable",
    "engine_failed", "deadline_exceeded",
)  # fmt: skip


def openapi_document(settings: Settings, *, version: str) -> Json:
    """The whole OpenAPI 3.1 document."""
    document: Json = {
        "openapi": "3.1.0",
        "info": {
            "title": "C-LEAD Serve",
            "version": version,
            "description": "Classifies images robustly, and probes how robust one answer is.",
        },
        "paths": {
            "/classify": {"post": _classify(settings)},
            "/probe": {"post": _probe(settings)},
            "/models": {"get": _get("Lists the models.", "Every model in the folder.")},
            "/models/{name}": {"get": _card(["name"])},
            "/models/{name}/{version}": {"get": _card(["name", "version"])},
            **{path: _operation(path, it) for path, it in open_inference_operations(settings).items()},
            "/livez": {"get": _get("Whether the process answers.", "It does.", ())},
            "/readyz": {"get": _get("Whether the default model answers.", "Ready.", ("not_ready",))},
            "/metrics": {"get": _get("Prometheus metrics.", "Text format.", _KEY_PROBLEMS, "text/plain")},
            "/docs": {"get": _get("This description, for people.", "A page.", (), "text/html")},
            "/openapi.json": {"get": _get("This description.", "OpenAPI 3.1.", ())},
            "/ui/": {"get": _get("The page for people.", "A page.", (), "text/html")},
            "/ui/settings.json": {"get": _get("What the page offers here: the caps.", "The caps.", ())},
            "/ui/{file}": {"get": _page_file()},
            "/ui": {"get": _leads("/ui/")},
            "/": {"get": _leads("/ui/ (browsers) or /docs")},
        },
        "components": {
            "schemas": {
                "Model": _object(name=_STRING, version=_STRING, sha256=_STRING),
                "Label": _object(label=_STRING, index=_INTEGER, probability=_UNIT),
                "Problem": _object(
                    type=_STRING, title=_STRING, status=_INTEGER, detail=_STRING, instance=_STRING,
                    code={"type": "string", "enum": list(KINDS)}, request_id=_STRING,
                ),
            },
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
        "security": [{}, {"bearer": []}, {"header": []}],
    }  # fmt: skip
    for path, schema in ANSWERS.items():
        for operation in document["paths"][path].values():
            operation["responses"]["200"]["content"]["application/json"] = {"schema": schema}
    return document


def _classify(settings: Settings) -> Json:
    prediction = {
        "allOf": [_ref("Label"), _object(top={"type": "array", "items": _ref("Label")})],
    }
    answer = _object(model=_ref("Model"), predictions={"type": "array", "items": prediction})
    answer["properties"]["inputs"] = {"type": "array", "items": _STRING}
    return {
        "summary": "Classifies one or several images.",
        "parameters": _in_query(classify_parameter_schemas()),
        "requestBody": _image_body(classify_parameter_schemas(), most=settings.max_images),
        "responses": _responses("One prediction for each image, in order.", answer, _UPLOAD_PROBLEMS),
    }


def _probe(settings: Settings) -> Json:
    schemas = probe_parameter_schemas(settings)
    responses = _responses(
        "What attacks on this one image found. With `Accept: text/event-stream`: events named `progress` "
        "while it goes on, then one named `result` with this object, or one named `problem`.",
        _probe_answer(),
        ("probe_disabled", "not_recorded", *_UPLOAD_PROBLEMS),
    )
    responses["200"]["content"]["text/event-stream"] = {"schema": _STRING}
    return {
        "summary": "Attacks the answer for one image and says how robust it is.",
        "parameters": _in_query(schemas),
        "requestBody": _image_body(schemas, most=1),
        "responses": responses,
    }


def _probe_answer() -> Json:
    return _object(
        model=_ref("Model"),
        goal=_object(label=_STRING_OR_NULL, target=_STRING_OR_NULL),
        prediction=_ref("Label"),
        space=_object(name=_STRING, height=_INTEGER, width=_INTEGER),
        threat=_object(norm=_STRING, eps=_NUMBER),
        verdict={"type": "string", "enum": ["flipped", "held", "inconclusive"]},
        minimal_eps=_object(held=_NUMBER_OR_NULL, flipped=_NUMBER_OR_NULL),
        minimal_eps_8bit=_NUMBER_OR_NULL,
        curve={"type": "array", "items": {"type": "object"}},
        budget={"type": "object"},
        evidence={
            "type": "array",
            "items": _object(check=_STRING, passed={"type": "boolean"}, detail=_STRING),
        },
        classes={
            "type": ["array", "null"],
            "items": _object(label=_STRING, index=_INTEGER, flipped=_NUMBER_OR_NULL),
        },
        certificate={"type": ["object", "null"]},
        images={"type": "object"},
    )


def _page_file() -> Json:
    return _get("A file of the page.", "The file.", ("not_found",), "*/*") | {
        "parameters": _in_path(["file"])
    }


def _leads(target: str) -> Json:
    return {"summary": f"Leads to {target}.", "responses": {"307": {"description": f"See {target}."}}}


def _card(names: Iterable[str]) -> Json:
    operation = _get(
        "The manifest of one model.", "Card of the model.", (*_ADMISSION_PROBLEMS, "model_not_found")
    )
    operation["parameters"] = _in_path(names)
    return operation


def _operation(path: str, operation: Operation) -> Json:
    """The entry of one path of the Open Inference Protocol."""
    responses = _responses(operation.answer, {}, operation.problems)
    responses["200"]["content"] = {media: {"schema": schema} for media, schema in operation.content.items()}
    described: Json = {"summary": operation.summary, "responses": responses}
    described["parameters"] = _in_path(re.findall(r"{(\w+)}", path)) + [
        {"name": name, "in": "header", "required": False, "schema": schema}
        for name, schema in operation.headers.items()
    ]
    if operation.body is not None:
        content = {media: {"schema": schema} for media, schema in operation.body.items()}
        described["requestBody"] = {"content": content}
    return {operation.method: described}


def _in_path(names: Iterable[str]) -> list[Json]:
    return [{"name": name, "in": "path", "required": True, "schema": _STRING} for name in names]


def _get(
    summary: str,
    description: str,
    problems: Iterable[str] = _ADMISSION_PROBLEMS,
    media: str = "application/json",
) -> Json:
    return {"summary": summary, "responses": _responses(description, {}, problems, media)}


def _responses(
    description: str, schema: Json, problems: Iterable[str], media: str = "application/json"
) -> Json:
    responses: Json = {"200": {"description": description, "content": {media: {"schema": schema}}}}
    for code in problems:
        status = str(KINDS[code].status)
        known = responses.setdefault(
            status, {"description": "", "content": {MEDIA_TYPE: {"schema": _ref("Problem")}}}
        )
        known["description"] = ", ".join(filter(None, [known["description"], code]))
    return responses


def _image_body(parameters: dict[str, Json], *, most: int) -> Json:
    binary = {"type": "string", "format": "binary"}
    images = {"type": "array", "items": binary, "minItems": 1, "maxItems": most}
    content: Json = {media: {"schema": binary} for media in (*MEDIA_TYPES, "application/octet-stream")}
    content[MULTIPART] = {
        "schema": {
            "type": "object",
            "required": [IMAGE_PART],
            "properties": {IMAGE_PART: images, **parameters},
        }
    }
    return {"required": True, "content": content}


def _in_query(parameters: dict[str, Json]) -> list[Json]:
    return [
        {"name": name, "in": "query", "required": False, "schema": schema}
        for name, schema in parameters.items()
    ]


def _object(**properties: Json) -> Json:
    return {"type": "object", "required": list(properties), "properties": properties}


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}
