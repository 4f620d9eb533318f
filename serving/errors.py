"""Every exception that ends a request, as the problem that its client is told."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.types import Scope

from engines.engine import EngineError
from serving.problems import MISTAKE, Problem, engine_failed, shown

CLIENT_CLOSED_REQUEST = 499
_CODES = {400: "bad_request", 404: "not_found", 405: "method_not_allowed", 413: "body_too_large"}


def problem_of(error: Exception, scope: Scope, *, paths: str) -> Problem:
    """The problem of a request that ended with `error`; internal_error for what nobody has foreseen.

    Args:
        paths: what there is, for those who ask for something else.
    """
    if isinstance(error, Problem):
        return error
    if isinstance(error, EngineError):
        return engine_failed()
    if not isinstance(error, HTTPException) or error.status_code not in _CODES:
        return Problem("internal_error", MISTAKE)
    detail = {
        404: f"there is nothing at {shown(scope['path'])!r}; paths are: {paths}",
        405: f"{scope['method']} is not accepted at {shown(scope['path'])}; the Allow header says what is",
    }.get(error.status_code, error.detail or "the request cannot be understood")
    return Problem(_CODES[error.status_code], detail, headers=error.headers)
