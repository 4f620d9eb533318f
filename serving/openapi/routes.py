"""GET /docs and /openapi.json: the API described by the server itself, without any outside resource."""

from __future__ import annotations

import json
from functools import cache
from html import escape
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from serving.json_answer import JsonAnswer
from serving.openapi.document import openapi_document
from serving.problems import KINDS
from serving.runtime import runtime_of
from serving.settings import Settings

DISTRIBUTION = "clead-serve"
_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse;width:100%}td,th{border:1px solid #8886;padding:.3rem .6rem;"
    "text-align:left;vertical-align:top}code{font-family:ui-monospace,monospace}h2{margin-top:2.5rem}"
    "@media(prefers-color-scheme:dark){body{background:#111;color:#eee}a{color:#9cf}}"
)
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
}


async def home(request: Request) -> Response:
    """Leads browsers to the page, and whatever else asks to the documentation."""
    if "text/html" in request.headers.get("accept", ""):
        return RedirectResponse("ui/", headers={"Vary": "Accept"})
    return RedirectResponse("/docs", headers={"Vary": "Accept"})


class Description:
    """The OpenAPI document of one server, written once: as JSON, and as a page."""

    def __init__(self, settings: Settings) -> None:
        document = openapi_document(settings, version=distribution_version())
        self.json = bytes(JsonAnswer(document).body)
        self.page = page(document).encode()


async def openapi(request: Request) -> Response:
    """The OpenAPI document."""
    return Response(_description(request).json, media_type=JsonAnswer.media_type)


async def docs(request: Request) -> Response:
    """The OpenAPI document as a page; as JSON for those who ask for JSON."""
    if request.headers.get("accept", "").startswith("application/json"):
        return await openapi(request)
    return HTMLResponse(_description(request).page, headers=_HEADERS)


def page(document: dict[str, Any]) -> str:
    """An OpenAPI document as one HTML page."""
    operations = "".join(
        _operation(method, path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    )
    problems = "".join(
        f'<tr id="{code}"><td><code>{code}</code></td><td>{kind.status}</td><td>{escape(kind.title)}</td>'
        for code, kind in KINDS.items()
    )
    info = document["info"]
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(info["title"])}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style>'
        f"<h1>{escape(info['title'])} {escape(info['version'])}</h1><p>{escape(info['description'])} "
        'For machines: <a href="/openapi.json">openapi.json</a>.</p>'
        f"{operations}<h2>Problems</h2><p>Every error is <code>application/problem+json</code> (RFC 9457) "
        "with one of these codes and a <code>request_id</code>.</p>"
        f"{_table(('code', 'status', 'meaning'), problems)}</html>"
    )


def _operation(method: str, path: str, operation: dict[str, Any]) -> str:
    rows = "".join(
        f"<tr><td><code>{escape(parameter['name'])}</code></td><td>{escape(_type(parameter['schema']))}</td>"
        f"<td>{escape(parameter['schema'].get('description', ''))}</td></tr>"
        for parameter in operation.get("parameters", ())
    )
    body = operation.get("requestBody", {}).get("content", {})
    accepted = f"<p>Body: <code>{'</code>, <code>'.join(map(escape, body))}</code></p>" if body else ""
    answers = "".join(
        f"<tr><td>{status}</td><td>{escape(answer['description'])}</td></tr>"
        for status, answer in operation["responses"].items()
    )
    parameters = _table(("parameter", "type", "meaning"), rows) if rows else ""
    return (
        f"<h2><code>{method.upper()} {escape(path)}</code></h2><p>{escape(operation['summary'])}</p>"
        f"{accepted}{parameters}<h3>Answers</h3>{_table(('status', 'meaning'), answers)}"
    )


def _type(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return " | ".join(schema["enum"])
    bounds = [f"{json.dumps(schema[key])} {word}" for key, word in _BOUNDS if key in schema]
    return ", ".join([str(schema["type"]), *bounds])


_BOUNDS = (("minimum", "at least"), ("maximum", "at most"), ("default", "by default"))


def _table(headings: tuple[str, ...], rows: str) -> str:
    head = "".join(f"<th>{heading}</th>" for heading in headings)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _description(request: Request) -> Description:
    # Of the application, whose settings do not change.
    state = request.app.state
    if not hasattr(state, "description"):
        state.description = Description(runtime_of(request).settings)
    found: Description = state.description
    return found


@cache
def distribution_version() -> str:
    """The version that is installed, or "unreleased"; asked for once, for it means reading files."""
    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:
        # Served from a checkout or a bento, where nothing is installed under this name.
        return "unreleased"
