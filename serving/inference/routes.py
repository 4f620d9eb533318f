"""The Open Inference Protocol (KServe V2, REST) under /v2: the classifier for clients of Triton or KServe.

Source: inference_rest.md of the Open Inference Protocol; NVIDIA Triton's extensions for binary tensors,
classification, and the index of the repository.
"""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from serving.classifying.batch import Classification, Floats
from serving.classifying.in_time import Late, classify_in_time
from serving.inference.answer import write_inference_answer
from serving.inference.compression import content_encoding, decoded
from serving.inference.request import (
    LENGTH_HEADER,
    InferenceRequest,
    Message,
    malformed,
    read_inference_request,
    read_json,
)
from serving.inference.tensors import DATATYPE, INPUT, OUTPUT
from serving.json_answer import JsonAnswer
from serving.models.model import Model, identity_of
from serving.models.registry import ModelRegistry
from serving.models.routes import listed_models, reference_in_path
from serving.openapi.routes import DISTRIBUTION, distribution_version
from serving.runtime import runtime_of
from serving.status_routes import livez, readyz
from serving.uploads.body import read_body

EXTENSIONS = ("binary_tensor_data", "classification")
PLATFORM = "onnxruntime_onnx"
_INDEX_BYTES = 4096


def open_inference_routes() -> list[Route]:
    """Every route of the protocol. A model is named with or without one of its versions."""
    routes = [
        Route("/v2", server_metadata, methods=["GET"]),
        Route("/v2/health/live", livez, methods=["GET"]),
        Route("/v2/health/ready", readyz, methods=["GET"]),
        Route("/v2/repository/index", repository_index, methods=["POST"]),
    ]
    for model in ("/v2/models/{name}", "/v2/models/{name}/versions/{version}"):
        routes += [
            Route(model, model_metadata, methods=["GET"]),
            Route(f"{model}/ready", model_ready, methods=["GET"]),
            Route(f"{model}/infer", infer, methods=["POST"]),
        ]
    return routes


async def server_metadata(request: Request) -> Response:
    """What this server is, and which extensions it knows."""
    return JsonAnswer(
        {"name": DISTRIBUTION, "version": distribution_version(), "extensions": list(EXTENSIONS)}
    )


class _IndexRequest(Message):
    ready: bool = False


async def repository_index(request: Request) -> Response:
    """Lists the models of the folder. Those with an intact bundle are ready: a request loads them."""
    runtime = runtime_of(request)
    deadline_s = runtime.settings.body_deadline_ms / 1000
    body = await read_body(request, max_bytes=_INDEX_BYTES, deadline_s=deadline_s)
    only_ready = bool(body) and read_json(body, _IndexRequest).ready
    models = await asyncio.to_thread(listed_models, runtime.registry)
    index = [
        {
            "name": model["name"],
            "version": model["version"],
            "state": "READY" if model["error"] is None else "UNAVAILABLE",
            "reason": model["error"] or "",
        }
        for model in models
    ]
    return JsonAnswer([entry for entry in index if entry["state"] == "READY" or not only_ready])


async def model_metadata(request: Request) -> Response:
    """The tensors that a model takes and gives, and its versions."""
    registry = runtime_of(request).registry
    return JsonAnswer(await asyncio.to_thread(_metadata, registry, reference_in_path(request)))


async def model_ready(request: Request) -> Response:
    """Whether a model answers. One that is not in memory is loaded."""
    runtime = runtime_of(request)
    model = await runtime.model(reference_in_path(request), deadline=runtime.classify_deadline())
    return JsonAnswer({"ready": True} | _named(model.identity))


async def infer(request: Request) -> Response:
    """The logits, or the most probable classes, of a tensor of images."""
    runtime = runtime_of(request)
    settings = runtime.settings
    encoding, header_length = content_encoding(request.headers), _header_length(request)
    deadline_s = settings.body_deadline_ms / 1000
    body = await read_body(request, max_bytes=settings.max_body_bytes, deadline_s=deadline_s)
    with runtime.classify_lane.admit() as place:

        def job(model: Model, late: Late) -> Classification[tuple[int, bytes, bytes]]:
            asked: InferenceRequest | None = None

            def images() -> Floats:
                nonlocal asked
                asked = read_inference_request(
                    decoded(body, encoding, max_bytes=settings.max_body_bytes),
                    header_length=header_length,
                    spec=model.bundle.manifest.input,
                    max_images=settings.max_images,
                )
                return asked.images

            def answer(logits: Floats) -> tuple[int, bytes, bytes]:
                assert asked is not None
                written = write_inference_answer(
                    asked, logits, identity=model.identity, classes=model.classes
                )
                return len(logits), *written

            return Classification(model=model, images=images, answer=answer, late=late)

        count, document, binary = await classify_in_time(request, place, reference_in_path(request), job)
    runtime.later(runtime.metrics.images.inc, count)
    if not binary:
        return Response(document, media_type="application/json")
    headers = {LENGTH_HEADER: str(len(document))}
    return Response(document + binary, headers=headers, media_type="application/octet-stream")


def _header_length(request: Request) -> int | None:
    text = request.headers.get(LENGTH_HEADER)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 19):
        raise malformed(f"{LENGTH_HEADER} is {text[:40]!r}, not the number of bytes of the JSON")
    return int(text)


def _metadata(registry: ModelRegistry, reference: str) -> dict[str, object]:
    bundle = registry.bundle(reference)
    spec, classes = bundle.manifest.input, len(bundle.manifest.classes)
    shape = [-1, spec.channels, spec.height, spec.width]
    return _named(identity_of(bundle)) | {
        "versions": [ref.version for ref in registry.references() if ref.name == bundle.manifest.name],
        "platform": PLATFORM,
        "inputs": [{"name": INPUT, "datatype": DATATYPE, "shape": shape}],
        "outputs": [{"name": OUTPUT, "datatype": DATATYPE, "shape": [-1, classes]}],
    }


def _named(identity: dict[str, str]) -> dict[str, object]:
    # The protocol has one place for what it does not name itself.
    return {
        "name": identity["name"],
        "parameters": {"version": identity["version"], "sha256": identity["sha256"]},
    }
