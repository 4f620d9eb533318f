"""Clients that begin bodies and do not end them take nothing from those who do."""

from __future__ import annotations

import hashlib
import re
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.serving import pictures
from tests.serving.asking import Reply, ask
from tests.serving.conftest import Server, running_server

PLACES = 3
IMAGE = pictures.encoded(pictures.noise((90, 90)))
KEYS = ("slow", "other")


@pytest.fixture(scope="module")
def small_server(models_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with few places, and room for eight bodies, four of them of one caller."""
    settings = {
        "CLEAD_MODELS_DIR": str(models_dir),
        "CLEAD_CLASSIFY_CONCURRENCY": "1",
        "CLEAD_CLASSIFY_QUEUE": str(PLACES - 1),
        "CLEAD_MAX_BODY_BYTES": "100000",
        "CLEAD_UPLOADS": "8",
        "CLEAD_UPLOAD_BYTES": "400000",
        "CLEAD_UPLOAD_SHARE": "0.5",
        "CLEAD_BODY_DEADLINE_MS": "60000",
        "CLEAD_KEYS": ",".join(f"{hashlib.sha256(key.encode()).hexdigest()} name={key}" for key in KEYS),
    }
    with running_server(tmp_path_factory.mktemp("bentoml"), settings) as running:
        yield running


@contextmanager
def _unfinished(port: int, *, key: str, bodies: int, sent: int, path: str = "/classify") -> Iterator[None]:
    """Bodies of which so many bytes are sent, and all but one byte announced."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nX-API-Key: {key}\r\nContent-Type: image/png\r\n"
        f"Content-Length: {sent + 1}\r\n\r\n"
    ).encode()
    with ExitStack() as connections:
        for _ in range(bodies):
            connection = connections.enter_context(socket.create_connection(("127.0.0.1", port)))
            connection.sendall(head + bytes(sent))
        yield


def _classify(server: Server, key: str) -> Reply:
    return ask(server.port, "POST", "/classify", IMAGE, "image/png", {"X-API-Key": key})


def _until(server: Server, key: str, status: int) -> Reply:
    """The first answer with this status: when the server has read what was sent, nobody can see."""
    deadline = time.monotonic() + 30
    while (reply := _classify(server, key)).status != status:
        assert reply.status in (200, 503) and time.monotonic() < deadline
    return reply


def _shed(server: Server, reason: str) -> float:
    text = ask(server.port, "GET", "/metrics", headers={"X-API-Key": "other"}).body.decode()
    found = re.search(rf'clead_shed_total{{lane="classify",reason="{reason}"}} ([0-9.]+)', text)
    assert found is not None
    return float(found[1])


def test_one_caller_that_stalls_closes_the_server_for_nobody_else(small_server: Server) -> None:
    before = _shed(small_server, "caller")
    with _unfinished(small_server.port, key="slow", bodies=PLACES + 20, sent=10):
        refused = _until(small_server, "slow", 503)
        assert refused.json["code"] == "overloaded"
        assert "of yours" in refused.json["detail"]
        assert refused.headers["retry-after"] == "1"
        assert [_classify(small_server, "other").status for _ in range(10)] == [200] * 10
    assert _shed(small_server, "caller") > before
    _until(small_server, "slow", 200)


def test_bodies_on_their_way_take_no_place_of_what_is_computed(small_server: Server) -> None:
    with (
        _unfinished(small_server.port, key="slow", bodies=4, sent=10),
        _unfinished(small_server.port, key="other", bodies=3, sent=10, path="/v2/models/colors/infer"),
    ):
        _until(small_server, "slow", 503)
        assert [_classify(small_server, "other").status for _ in range(10)] == [200] * 10


def test_bytes_of_unfinished_bodies_are_bounded(small_server: Server) -> None:
    before = _shed(small_server, "caller")
    # Each fits; all three do not.
    with _unfinished(small_server.port, key="slow", bodies=3, sent=90_000):
        refused = _until(small_server, "slow", 503)
        assert refused.json["code"] == "overloaded"
        assert "your bodies may take 200000 bytes" in refused.json["detail"]
        assert _classify(small_server, "other").status == 200
    assert _shed(small_server, "caller") > before
