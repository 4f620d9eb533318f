"""GET /models and GET /models/{name}."""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from export.bundle import BundleError
from serving.models import ModelRegistry, identity_of
from serving.problems import Problem
from serving.runtime import Runtime, runtime_of


async def models(request: Request) -> Response:
    """Lists the models of the folder."""
    runtime = runtime_of(request)
    return JSONResponse(await asyncio.to_thread(_listing, runtime))


async def model_card(request: Request) -> Response:
    """What is known about one model: its manifest, and its sha256."""
    runtime = runtime_of(request)
    parts = request.path_params
    reference = "/".join(parts[key] for key in ("name", "version") if key in parts)
    return JSONResponse(await asyncio.to_thread(_card, runtime.registry, reference))


def _listing(runtime: Runtime) -> dict[str, object]:
    loaded = runtime.registry.in_memory()
    listed = []
    for ref in runtime.registry.references():
        reference = f"{ref.name}/{ref.version}"
        entry: dict[str, object] = {"name": ref.name, "version": ref.version, "loaded": reference in loaded}
        try:
            entry |= identity_of(runtime.registry.bundle(reference)) | {"error": None}
        except Problem as problem:
            entry |= {"sha256": None, "error": problem.detail}
        listed.append(entry)
    try:
        default: str | None = runtime.registry.default_reference()
    except BundleError:
        default = None
    return {"default": default, "models": listed}


def _card(registry: ModelRegistry, reference: str) -> dict[str, object]:
    bundle = registry.bundle(reference)
    return {"model": identity_of(bundle), "manifest": bundle.manifest.model_dump(mode="json", by_alias=True)}
