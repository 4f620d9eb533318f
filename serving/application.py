"""The Starlette application: routes, and how every error becomes problem details."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from engines.engine import EngineError
from serving import documentation, model_routes, status_routes
from serving.classify_route import classify
from serving.front import CLIENT_CLOSED_REQUEST
from serving.open_inference import open_inference_routes
from serving.probe_route import probe
from serving.problems import MISTAKE, Problem
from serving.runtime import Runtime

_CODES = {400: "bad_request", 404: "not_found", 405: "method_not_allowed", 413: "body_too_large"}


def build_application(runtime: Runtime) -> Starlette:
    """The application around one runtime, which starts and stops with it."""
    paths = ", ".join(route.path for route in routes())

    async def answer_http_error(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        code = _CODES.get(status, "internal_error")
        detail = {
            404: f"there is nothing at {request.url.path!r}; paths are: {paths}",
            405: f"{request.method} is not accepted at {request.url.path}; the Allow header says what is",
        }.get(status, str(getattr(error, "detail", "")) or "the request cannot be understood")
        return _answer(request, Problem(code, detail, headers=getattr(error, "headers", None)))

    application = Starlette(
        routes=routes(),
        lifespan=_lifespan,
        exception_handlers={
            HTTPException: answer_http_error,
            Problem: _answer_problem,
            EngineError: _answer_engine_error,
            ClientDisconnect: _answer_nobody,
            Exception: _answer_mistake,
        },
    )
    application.router.redirect_slashes = False
    application.state.runtime = runtime
    return application


def routes() -> list[Route]:
    """Every route of the server."""
    return [
        Route("/", documentation.home, methods=["GET"]),
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
async def _lifespan(application: Starlette) -> AsyncIterator[None]:
    runtime: Runtime = application.state.runtime
    runtime.start()
    try:
        yield
    finally:
        await runtime.stop()


async def _answer_problem(request: Request, error: Exception) -> Response:
    if not isinstance(error, Problem):
        raise error
    return _answer(request, error)


async def _answer_engine_error(request: Request, error: Exception) -> Response:
    problem = Problem("engine_failed", "the engine did not answer: try again", headers={"Retry-After": "1"})
    return _answer(request, problem)


async def _answer_nobody(request: Request, error: Exception) -> Response:
    return Response(status_code=CLIENT_CLOSED_REQUEST)


async def _answer_mistake(request: Request, error: Exception) -> Response:
    # Starlette raises the error again after this answer, and the front logs it.
    return _answer(request, Problem("internal_error", MISTAKE))


def _answer(request: Request, problem: Problem) -> Response:
    # A request that has come as far as a model is told which one, also when it failed.
    model = getattr(request.state, "model", None)
    members = {} if model is None else {"model": model}
    return problem.response(request_id=request.state.request_id, path=request.url.path, **members)
