"""Requests that are answered before their body has ended: the answer is read, and the connection closed.

The HTTP server below would keep such a connection, and take what its client goes on sending without end. It
closes one whose answer says so; but closing while bytes arrive resets the connection, and a client that is
still sending may lose the answer. So the answer is sent whole, and the connection closed a little later.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from starlette.datastructures import Headers
from starlette.types import Message, Receive, Send

SMALL_BYTES = 64 * 1024
REST_S = 0.05
"""So much of a body is waited for, so long: a client that is refused keeps its connection if that is all."""
LINGER_S, LINGER_BYTES = 2.0, 16 * 1024 * 1024
"""A client that goes on sending is listened to for so long, and so much of it, after its answer."""
CLOSE = (b"connection", b"close")


class UnreadBody:
    """The messages of one request and its answer; `finish` is to be called after the last one.

    Args:
        lost: whether what comes of the body would be taken for other requests: the connection is closed with
            the answer, before anything more is read from it.
    """

    def __init__(self, headers: Headers, receive: Receive, send: Send, *, lost: bool = False) -> None:
        self._receive = receive
        self._send = send
        self._lost = lost
        # Only these two say that there is a body (RFC 9112, 6.3).
        length = headers.get("content-length", "0")
        self._ended = length == "0" and "transfer-encoding" not in headers
        # Who waits to be told to go on sends nothing before, and is not to be told.
        small = length.isdecimal() and len(length) < 6 and int(length) <= SMALL_BYTES
        self._may_be_small = small and "expect" not in headers and not lost
        self._unfinished = False

    async def receive(self) -> Message:
        """The next message of the request."""
        message = await self._receive()
        if message["type"] == "http.request" and not message.get("more_body", False):
            self._ended = True
        return message

    async def send(self, message: Message) -> None:
        """Sends a message of the answer."""
        if message["type"] == "http.response.start":
            if self._may_be_small and not self._ended:
                await self._take(SMALL_BYTES, limit_s=REST_S)
            message = message if self._ended and not self._lost else _closing(message)
        elif not (self._ended or self._lost) and not message.get("more_body", False):
            # The answer is whole. Only the HTTP server is not told yet.
            self._unfinished = True
            message = {**message, "more_body": True}
        await self._send(message)

    async def finish(self) -> None:
        """Listens to a client that has not ended its body, for a while; then the connection is closed."""
        if self._unfinished:
            await self._take(LINGER_BYTES, limit_s=LINGER_S)
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _take(self, most: int, *, limit_s: float) -> None:
        """Throws away what comes of the body until it has ended, or the client has gone."""
        try:
            async with asyncio.timeout(limit_s):
                while not self._ended and most > 0:
                    message = await self.receive()
                    if message["type"] == "http.disconnect":
                        return
                    most -= len(message.get("body", b""))
        except TimeoutError:
            pass


def _closing(message: Message) -> Message:
    headers: Iterable[tuple[bytes, bytes]] = message.get("headers", ())
    return {**message, "headers": [*(header for header in headers if header != CLOSE), CLOSE]}
