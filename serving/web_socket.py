"""WebSocket upgrades: nothing here speaks that, which is said over HTTP, as everything else is."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from serving.problems import Problem

_RESPONSE = "websocket.http.response"


async def websocket(request: Request) -> Response:
    """Refuses an upgrade.

    Raises:
        Problem: bad_request.
    """
    raise Problem(
        "bad_request", "there are no WebSockets here: send the request without 'Upgrade: websocket'"
    )


def as_http(scope: Scope, receive: Receive, send: Send) -> tuple[Scope, Receive, Send]:
    """An upgrade as the GET request that it is, and its refusal as an HTTP response.

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
