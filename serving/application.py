"""Which handler answers which path, and what starts and stops with the server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TypeAlias

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import Scope

from serving import status_routes
from serving.classifying.route import classify
from serving.inference.routes import open_inference_routes
from serving.models import routes as model_routes
from serving.open_files import raise_open_files_limit
from serving.openapi import routes as documentation
from serving.page_routes import page_routes
from serving.probing.route import probe
from serving.runtime import Runtime

Handler: TypeAlias = Callable[[Request], Awaitable[Response]]


class Application(Starlette):
    """The routes around one runtime, which starts and stops with it.

    `serving.front` asks `find`, and `router` about what that does not find: it raises the HTTPException that
    says why. Starlette's own middlewares and error pages are not in the way of any request.

    Attributes:
        paths: all there are, for people.
    """

    def __init__(self, runtime: Runtime) -> None:
        table = routes()
        super().__init__(routes=table, lifespan=_lifespan)
        self.router.redirect_slashes = False
        self.state.runtime = runtime
        self._table = table
        self._handlers: Mapping[tuple[str, str], Handler] = {
            (method, route.path): route.endpoint
            for route in table
            if not route.param_convertors
            for method in route.methods or ()
        }
        self.paths = ", ".join(route.path for route in table)

    def find(self, scope: Scope) -> Handler | None:
        """What answers a request; None where there is nothing at its path, or not for its method.

        The scope is told the `endpoint`, also that of another method, and the parameters in the path.
        """
        handler = self._handlers.get((scope["method"], scope["path"]))
        if handler is not None:
            scope["endpoint"] = handler
            return handler
        for route in self._table:
            match, found = route.matches(scope)
            if match is Match.FULL:
                scope.update(found)
                handler = route.endpoint
                return handler
            if match is Match.PARTIAL:
                scope.setdefault("endpoint", found["endpoint"])
        return None


def routes() -> list[Route]:
    """Every route of the server."""
    return [
        Route("/", documentation.home, methods=["GET"]),
        *page_routes(),
        Route("/classify", classify, methods=["POST"]),
        Route("/probe", probe, methods=["POST"]),
        Route("/models", model_routes.models, methods=["GET"]),
        Route("/models/{name}", model_routes.model_card, methods=["GET"]),
        Route("/models/{name}/{version}", model_routes.model_card, methods=["GET"]),
        *open_inference_routes(),
        Route("/livez", status_routes.livez, methods=["GET"]),
        Route("/readyz", status_routes.readyz, methods=["GET"]),
        Route("/metrics", status_routes.metrics, methods=["GET"]),
        Route("/docs", documentation.docs, methods=["GET"]),
        Route("/openapi.json", documentation.openapi, methods=["GET"]),
    ]


@asynccontextmanager
async def _lifespan(application: Application) -> AsyncIterator[None]:
    runtime: Runtime = application.state.runtime
    raise_open_files_limit()
    runtime.start()
    try:
        yield
    finally:
        await runtime.stop()
