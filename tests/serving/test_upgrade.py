"""Requests that offer another protocol: refused with a body, which would be read as further requests."""

from __future__ import annotations

import http.client
import socket
from contextlib import closing, suppress

import pytest
from starlette.datastructures import Headers

from serving.upgrade import loses_body
from tests.serving import pictures
from tests.serving.asking import ask
from tests.serving.conftest import Server

OFFER = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "AAMAAABkAAQAAP__"}
INNER = b"GET /models HTTP/1.1\r\nHost: localhost\r\nX-Request-ID: inner\r\n\r\n"
IMAGE = pictures.plain()


@pytest.mark.parametrize(
    ("method", "headers", "lost"),
    [
        ("POST", {"connection": "Upgrade", "upgrade": "h2c", "content-length": "5"}, True),
        ("POST", {"connection": "keep-alive, UPGRADE", "upgrade": "x", "transfer-encoding": "chunked"}, True),
        ("POST", {"proxy-connection": "upgrade", "upgrade": "h2c", "content-length": "5"}, True),
        ("CONNECT", {"content-length": "5"}, True),
        ("CONNECT", {"upgrade": "h2c", "content-length": "5"}, True),
        ("CONNECT", {}, False),
        ("GET", {"connection": "Upgrade", "upgrade": "h2c"}, False),
        ("POST", {"connection": "Upgrade", "upgrade": "h2c", "content-length": "0"}, False),
        ("POST", {"connection": "Upgrade", "content-length": "5"}, False),
        ("POST", {"upgrade": "h2c", "content-length": "5"}, False),
        ("POST", {"content-length": "5"}, False),
    ],
)
def test_which_bodies_are_lost(method: str, headers: dict[str, str], lost: bool) -> None:
    assert loses_body(method, Headers(headers)) is lost


def _all_that_comes(connection: socket.socket) -> bytes:
    """Until the server closes the connection, with or without having read what was sent last."""
    received = b""
    with suppress(ConnectionError):
        while part := connection.recv(65536):
            received += part
    return received


@pytest.mark.parametrize(
    "framing",
    [
        f"Content-Length: {len(INNER)}",
        "Transfer-Encoding: chunked",
        "Content-Length: 7\r\nExpect: 100-continue",
    ],
)
@pytest.mark.parametrize("method", ["POST /classify", "POST /probe", "GET /livez"])
@pytest.mark.parametrize("connection_header", ["Connection", "Proxy-Connection"])
def test_no_body_is_answered_as_a_request(
    server: Server, framing: str, method: str, connection_header: str
) -> None:
    head = (
        f"{method} HTTP/1.1\r\nHost: localhost\r\nX-Request-ID: outer\r\n{connection_header}: Upgrade\r\n"
        f"Upgrade: h2c\r\n{framing}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(head.encode())
        first = connection.recv(12)
        # Where the connection has been closed already, there is nobody to send it to.
        with suppress(ConnectionError):
            connection.sendall(INNER)
        received = first + _all_that_comes(connection)
    assert received.count(b"HTTP/1.1 ") == 1
    assert received.startswith(b"HTTP/1.1 400")
    lines = received.lower().split(b"\r\n")
    assert b"connection: close" in lines
    assert b"x-request-id: outer" in lines
    assert b'"bad_request"' in received and b"HTTP_1_1" in received


def test_a_body_that_comes_with_its_head_is_refused_as_well(server: Server) -> None:
    reply = ask(server.port, "POST", "/classify", IMAGE, "image/png", OFFER)

    assert (reply.status, reply.json["code"]) == (400, "bad_request")
    assert "without 'Upgrade'" in reply.json["detail"]
    assert reply.headers["connection"] == "close"


def test_without_a_body_the_offer_is_not_taken_up(server: Server) -> None:
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)) as connection:
        for headers in (OFFER, {}, OFFER):
            connection.request("GET", "/models", headers=headers)
            response = connection.getresponse()
            assert (response.status, response.version) == (200, 11)
            assert b"colors" in response.read()
