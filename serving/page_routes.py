"""GET /ui/: the page for people, from files that are read once; and what it has to know about this server."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from serving.page_settings import page_settings
from serving.runtime import runtime_of

FOLDER = Path(__file__).resolve().parent / "page"
INDEX = "index.html"
MEDIA_TYPES: Mapping[str, str] = MappingProxyType(
    {
        ".html": "text/html; charset=utf-8",
        ".css": "text/css; charset=utf-8",
        ".js": "text/javascript; charset=utf-8",
        ".svg": "image/svg+xml",
        ".png": "image/png",
    }
)
_HEADERS: Mapping[str, str] = MappingProxyType(
    {
        "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
        "img-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'; require-trusted-types-for 'script'",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
        # Asked for again each time, answered with 304 until a new release changes a file.
        "Cache-Control": "no-cache",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PageFile:
    """One file of the page: what is sent, as what, and the tag that changes with it."""

    content: bytes
    media_type: str
    etag: str


@cache
def page_files() -> Mapping[str, PageFile]:
    """The files of the page by name, read at the first call. Nothing else is ever sent."""
    return MappingProxyType(
        {path.name: _read(path) for path in sorted(FOLDER.iterdir()) if path.suffix in MEDIA_TYPES}
    )


def page_routes() -> list[Route]:
    """The routes of the page. None needs a key: they hold no secret, and the page asks for the key."""
    page_files()
    return [
        Route("/ui", to_page, methods=["GET"]),
        Route("/ui/", page, methods=["GET"]),
        Route("/ui/settings.json", settings, methods=["GET"]),
        Route("/ui/{file}", page, methods=["GET"]),
    ]


async def to_page(request: Request) -> Response:
    """Leads to the page; relative, so that it holds behind a proxy that adds a prefix."""
    return RedirectResponse("ui/")


async def page(request: Request) -> Response:
    """One file of the page; 304 for whoever has it already."""
    found = page_files().get(request.path_params.get("file", INDEX))
    if found is None:
        raise HTTPException(404)
    headers = {**_HEADERS, "ETag": found.etag}
    known = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    if found.etag in known:
        return Response(status_code=304, headers=headers)
    return Response(found.content, headers=headers, media_type=found.media_type)


async def settings(request: Request) -> Response:
    """What the page offers on this server: see `page_settings`."""
    runtime = runtime_of(request)
    told = page_settings(
        runtime.settings, asks_for_keys=runtime.access.asks_for_keys, files=page_files().keys()
    )
    return JSONResponse(told, headers={"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"})


def _read(path: Path) -> PageFile:
    content = path.read_bytes()
    return PageFile(
        content=content,
        media_type=MEDIA_TYPES[path.suffix],
        etag=f'"{hashlib.sha256(content).hexdigest()[:32]}"',
    )
