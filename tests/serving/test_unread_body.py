"""Requests that are answered before their body has ended, over sockets."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest

from serving.unread_body import LINGER_BYTES
from tests.serving.asking import ask
from tests.serving.conftest import Server

MIB = 1024 * 1024
CHUNK = b"100000\r\n" + bytes(MIB) + b"\r\n"
BUFFERS = 16 * MIB
"""More than the kernel keeps of what one side of a connection has sent and the other has not taken."""


@contextmanager
def _connection(server: Server) -> Iterator[http.client.HTTPConnection]:
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)) as connection:
        yield connection


def _head(method: str, path: str, *headers: str) -> bytes:
    return "\r\n".join((f"{method} {path} HTTP/1.1", "Host: localhost", *headers, "", "")).encode()


def _answer(connection: socket.socket) -> tuple[int, dict[str, str]]:
    response = http.client.HTTPResponse(connection)
    response.begin()
    response.read()
    return response.status, {name.lower(): value for name, value in response.getheaders()}


@pytest.mark.parametrize(
    ("method", "path", "media_type", "status"),
    [
        ("POST", "/classify", "x/y", 415),
        ("POST", "/classify", "image/png", 413),
        ("POST", "/nowhere", "image/png", 404),
        ("GET", "/livez", "image/png", 200),
    ],
)
def test_a_body_without_end_is_not_taken_without_end(
    server: Server, method: str, path: str, media_type: str, status: int
) -> None:
    head = _head(method, path, "Transfer-Encoding: chunked", f"Content-Type: {media_type}")
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(head + 3 * CHUNK)
        answered, headers = _answer(connection)
        sent = 0
        with pytest.raises(OSError):
            while sent < 4 * (LINGER_BYTES + BUFFERS):
                connection.sendall(CHUNK)
                sent += MIB
    assert (answered, headers["connection"]) == (status, "close")
    assert sent <= LINGER_BYTES + BUFFERS


def test_a_client_that_sends_all_before_it_reads_has_its_answer(server: Server) -> None:
    reply = ask(server.port, "POST", "/classify", bytes(12 * MIB), "image/png")

    assert (reply.status, reply.json["code"]) == (413, "body_too_large")
    assert reply.headers["connection"] == "close"


def test_a_client_whose_body_never_ends_is_left(server: Server) -> None:
    head = _head("POST", "/classify", "Content-Type: x/y", "Content-Length: 100")
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(head + b"?")
        status, headers = _answer(connection)
        assert (status, headers["connection"]) == (415, "close")
        assert connection.recv(1) == b""


@pytest.mark.parametrize("chunked", [False, True])
def test_a_refused_client_keeps_its_connection_when_its_small_body_is_there(
    server: Server, chunked: bool
) -> None:
    with _connection(server) as connection:
        kept: list[Any] = []
        for _ in range(3):
            body = iter([b"?", b"!"]) if chunked else bytes(60_000)
            connection.request("POST", "/classify", body, {"Content-Type": "x/y"}, encode_chunked=chunked)
            response = connection.getresponse()
            response.read()
            assert response.status == 415
            assert response.getheader("Connection") is None
            kept.append(connection.sock)
        assert kept[0] is not None
        assert kept == [kept[0]] * 3


def test_who_asks_whether_to_send_a_body_is_not_told_to_when_it_is_refused(server: Server) -> None:
    head = _head("POST", "/nowhere", "Content-Length: 100", "Expect: 100-continue")
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(head)
        assert connection.recv(12) == b"HTTP/1.1 404"
