"""GET /livez, /readyz and /metrics."""

from __future__ import annotations

import asyncio
import os
from dataclasses import asdict

from starlette.requests import Request
from starlette.responses import Response

from serving.json_answer import JsonAnswer
from serving.observing.metrics import CONTENT_TYPE
from serving.runtime import runtime_of


async def livez(request: Request) -> Response:
    """The process answers."""
    return JsonAnswer({"live": True})


async def readyz(request: Request) -> Response:
    """The default model has been loaded and warmed up in the worker that answers, which engine runs it, why
    nothing faster does, and which versions in the models folder are not served.
    """
    runtime = runtime_of(request)
    runtime.check_ready()
    model = await runtime.model(None, deadline=runtime.classify_deadline())
    # What runs may have changed since the model was loaded: CUDA graphs are given up when they fail.
    info = model.engine.describe()
    return JsonAnswer(
        {
            "ready": True,
            "model": model.identity,
            "engine": asdict(info),
            "probe": runtime.settings.probe,
            "worker": os.getpid(),
            "workers": runtime.settings.workers,
            "refused": [
                {"model": model, "reason": reason} for model, reason in runtime.registry.refused().items()
            ],
        }
    )


async def metrics(request: Request) -> Response:
    """The metrics of all workers."""
    runtime = runtime_of(request)
    runtime.later.flush()
    content = await asyncio.to_thread(runtime.metrics.exposition)
    return Response(content, media_type=CONTENT_TYPE)
