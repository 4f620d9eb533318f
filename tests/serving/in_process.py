"""The server in this process, without a network: for what has to be made to fail inside it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from serving.application import Application
from serving.front import Front
from serving.runtime import Runtime
from serving.settings import Settings


@asynccontextmanager
async def started(settings: Settings) -> AsyncIterator[tuple[Front, Runtime]]:
    """A server that has loaded its default model, or has given it up."""
    runtime = Runtime(settings)
    application = Application(runtime)
    async with application.router.lifespan_context(application):
        async with asyncio.timeout(60):
            while runtime.not_ready == "the default model is being loaded":
                await asyncio.sleep(0.01)
        yield Front(application, application=application), runtime


def asking(front: Front) -> httpx.AsyncClient:
    """A client of the server."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(front), base_url="http://127.0.0.1")
