"""uvicorn, Starlette and ONNX Runtime, and nothing else: no limits, no checks, no metrics, no log."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from benchmarks.serving_load.servers.work import Work


def application() -> Starlette:
    """One model, one route; computed in the event loop, which is the fastest way for a small model."""
    work = Work()

    async def classify(request: Request) -> JSONResponse:
        return JSONResponse(work.classify(await request.body()))

    async def ready(_: Request) -> JSONResponse:
        return JSONResponse({})

    return Starlette(routes=[Route("/classify", classify, methods=["POST"]), Route("/readyz", ready)])
