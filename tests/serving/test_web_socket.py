"""WebSocket upgrades are refused like every request: by key, with a problem, counted and logged."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import socket
import time
from pathlib import Path

import pytest
from starlette.types import Message, Scope

from serving.front import Front
from serving.observing.request_log import LOGGER
from serving.settings import Settings
from tests.serving.asking import ask
from tests.serving.conftest import Server
from tests.serving.in_process import started

UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
}
ENTRY = hashlib.sha256(b"k").hexdigest()


async def _upgrade(front: Front, *headers: tuple[bytes, bytes], denial: bool = True) -> list[Message]:
    scope: Scope = {
        "type": "websocket", "path": "/classify", "raw_path": b"/classify", "query_string": b"",
        "root_path": "", "scheme": "ws", "http_version": "1.1", "server": ("127.0.0.1", 80),
        "client": ("127.0.0.1", 1), "headers": list(headers),
        "extensions": {"websocket.http.response": {}} if denial else {},
    }  # fmt: skip
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message)

    await front(scope, receive, send)
    return sent


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [((), 401, "unauthorized"), (((b"x-api-key", b"k"), (b"x-request-id", b"me")), 400, "bad_request")],
)
def test_an_upgrade_is_refused_counted_and_logged(
    models_dir: Path,
    caplog: pytest.LogCaptureFixture,
    headers: tuple[tuple[bytes, bytes], ...],
    status: int,
    code: str,
) -> None:
    async def scenario() -> None:
        async with started(Settings(models_dir=models_dir, keys=(ENTRY,))) as (front, runtime):
            logging.getLogger(LOGGER).addHandler(caplog.handler)
            try:
                start, body = await _upgrade(front, *headers)
                runtime.later.flush()
            finally:
                logging.getLogger(LOGGER).removeHandler(caplog.handler)
            labels = {"route": "websocket", "status": str(status)}
            assert runtime.metrics.registry.get_sample_value("clead_requests_total", labels) == 1
        assert (start["type"], start["status"]) == ("websocket.http.response.start", status)
        told = dict(start["headers"])
        problem = json.loads(body["body"])
        assert told[b"content-type"] == b"application/problem+json"
        assert problem["code"] == code
        (fields,) = [record.__dict__["fields"] for record in caplog.records if record.msg == "request"]
        assert fields["request_id"] == problem["request_id"] == told[b"x-request-id"].decode()
        assert (fields["path"], fields["status"]) == ("/classify", status)

    asyncio.run(scenario())


def test_where_no_response_can_be_sent_the_upgrade_is_closed(models_dir: Path) -> None:
    async def scenario() -> None:
        async with started(Settings(models_dir=models_dir)) as (front, _):
            assert await _upgrade(front, denial=False) == [{"type": "websocket.close"}]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("method", "changed"),
    [
        ("GET", {"Content-Length": "5"}),
        ("GET", {"Transfer-Encoding": "chunked"}),
        ("GET", {"Sec-WebSocket-Key": "none"}),
        ("GET", {"Sec-WebSocket-Version": "1"}),
        ("GET", {"Upgrade": "WebSocket, h2c"}),
        ("POST", {}),
        ("POST", {"Content-Length": "5"}),
    ],
)
def test_an_upgrade_that_a_library_would_not_read_is_refused_in_our_words(
    server: Server, method: str, changed: dict[str, str]
) -> None:
    head = "".join(f"{name}: {value}\r\n" for name, value in {**UPGRADE, **changed}.items())
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(f"{method} /classify HTTP/1.1\r\nHost: localhost\r\n{head}\r\n".encode())
        received = b""
        # Until the server closes the connection.
        while part := connection.recv(65536):
            received += part
    assert received.startswith(b"HTTP/1.1 400")
    assert b"application/problem+json" in received
    assert b'"bad_request"' in received
    assert b"connection: close" in received.lower()


def test_an_upgrade_leaves_no_line_but_that_of_its_request(server: Server) -> None:
    ask(server.port, "GET", "/classify", headers=UPGRADE | {"X-Request-ID": "upgraded"})

    while '"upgraded"' not in (log := server.log.read_text()):
        time.sleep(0.02)
    assert "No supported WebSocket" not in log
    assert "Unsupported upgrade" not in log


@pytest.mark.parametrize("path", ["/classify", "/livez", "/nowhere"])
def test_a_server_refuses_an_upgrade(server: Server, path: str) -> None:
    reply = ask(server.port, "GET", path, headers=UPGRADE)

    assert (reply.status, reply.json["code"]) == (400, "bad_request")
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.headers["x-request-id"] == reply.json["request_id"]
