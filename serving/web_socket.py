"""WebSocket upgrades: nothing here speaks that, which is said over HTTP, as everything else is."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send
from uvicorn import Server

from serving.problems import Problem
from serving.upgrade import is_offered

_RESPONSE = "websocket.http.response"


async def websocket(request: Request) -> Response:
    """Refuses an upgrade.

    Raises:
        Problem: bad_request.
    """
    raise Problem(
        "bad_request", "there are no WebSockets here: send the request without 'Upgrade: websocket'"
    )


def speak_http_only(server: Server) -> None:
    """Has upgrades come as the HTTP requests that they are; to be called before there are connections.

    The libraries that would read them otherwise refuse some in words of their own, and `websockets` never
    answers one with a body: on that connection uvicorn fails when it stops, and drops all other requests.
    """
    server.config.ws_protocol_class = None


def asks_for_web_socket(headers: Headers) -> bool:
    """Whether an HTTP request is an upgrade to WebSocket."""
    return is_offered(headers) and "websocket" in headers.get("upgrade", "").lower()


def as_http(scope: Scope, receive: Receive, send: Send) -> tuple[Scope, Receive, Send]:
    """An upgrade as the GET request that it is, and its refusal as an HTTP response: for a server below that
    has not been told to `speak_http_only`, such as one in another thread.

    Where the server below cannot send one (ASGI's extension "WebSocket Denial Response"), it answers a plain
    403 instead.
    """
    answers = _RESPONSE in (scope.get("extensions") or {})

    async def receiving() -> Message:
        message = await receive()
        if message["type"] == "websocket.connect":
            return {"type": "http.request", "body": b"", "more_body": False}
        return {"type": "http.disconnect"}

    async def sending(message: Message) -> None:
        if answers:
            await send({**message, "type": message["type"].replace("http.response", _RESPONSE)})
        elif message["type"] == "http.response.start":
            await send({"type": "websocket.close"})

    return {**scope, "type": "http", "method": "GET", "endpoint": websocket}, receiving, sending
