"""GET /models and GET /models/{name}."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Any, TypedDict

from starlette.requests import Request
from starlette.responses import Response

from export.bundle import BundleError
from serving.json_answer import JsonAnswer
from serving.models.model import identity_of
from serving.models.registry import ModelRegistry
from serving.problems import Problem
from serving.runtime import runtime_of


class ListedModel(TypedDict):
    """One bundle of the folder.

    Attributes:
        sha256: None for a bundle that is damaged.
        loaded: whether the worker that answers has it in memory.
        current: whether that worker answers with it when a request asks for the name alone.
        engine: what runs it in that worker, as in /readyz; None unless it is loaded.
        error: why it cannot be served.
    """

    name: str
    version: str
    sha256: str | None
    loaded: bool
    current: bool
    engine: dict[str, Any] | None
    error: str | None


async def models(request: Request) -> Response:
    """Lists the models of the folder."""
    registry = runtime_of(request).registry
    return JsonAnswer(await asyncio.to_thread(_listing, registry))


async def model_card(request: Request) -> Response:
    """What is known about one model: its manifest, and its sha256."""
    registry = runtime_of(request).registry
    return JsonAnswer(await asyncio.to_thread(_card, registry, reference_in_path(request)))


def reference_in_path(request: Request) -> str:
    """`name` or `name/version` of the model that the path names."""
    parts = request.path_params
    return "/".join(parts[key] for key in ("name", "version") if key in parts)


def listed_models(registry: ModelRegistry) -> list[ListedModel]:
    """Every bundle of the folder; those that nobody has asked for yet are verified now."""
    loaded, current, refused = registry.in_memory(), registry.current().values(), registry.refused()
    listed = []
    for ref in registry.references():
        reference = f"{ref.name}/{ref.version}"
        sha256, error = None, refused.get(reference)
        try:
            sha256 = registry.bundle(reference).sha256
        except Problem as problem:
            error = problem.detail
        listed.append(
            ListedModel(
                name=ref.name,
                version=ref.version,
                sha256=sha256,
                loaded=reference in loaded,
                current=reference in current,
                engine=asdict(loaded[reference].info) if reference in loaded else None,
                error=error,
            )
        )
    return listed


def _listing(registry: ModelRegistry) -> dict[str, object]:
    try:
        default: str | None = registry.default_reference()
    except BundleError:
        default = None
    return {"default": default, "models": listed_models(registry)}


def _card(registry: ModelRegistry, reference: str) -> dict[str, object]:
    bundle = registry.bundle(reference)
    return {"model": identity_of(bundle), "manifest": bundle.manifest.model_dump(mode="json", by_alias=True)}
