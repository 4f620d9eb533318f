"""A streamed probe whose reader stops reading, or whose server makes a mistake."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.types import Message, Scope

from serving.application import Application
from serving.front import Front
from serving.probing.processes import ProbeProcesses
from serving.runtime import Runtime
from serving.settings import Settings
from tests.serving import pictures
from tests.serving.asking import ask
from tests.serving.color_bundle import write_color_bundle
from tests.serving.conftest import Server, running_server

IMAGE = pictures.plain((140, 120, 10))
# Large enough for an adversarial image of 5 MB, which no buffer of the kernel or the server holds.
LARGE_SIDE = 1152
PROGRESS = {"gradient_evaluations": 1, "bound": 2, "held": None, "flipped": None}


def _stream(models_dir: Path, send: Callable[[Message], Any]) -> None:
    """Asks for a streamed probe in this process, and waits until its place in the lane is free again."""

    async def scenario() -> None:
        runtime = Runtime(Settings(models_dir=models_dir))
        application = Application(runtime)
        front = Front(application, application=application)
        scope: Scope = {
            "type": "http", "method": "POST", "path": "/probe", "raw_path": b"/probe", "query_string": b"",
            "root_path": "", "scheme": "http", "http_version": "1.1", "server": ("127.0.0.1", 80),
            "headers": [(b"content-type", b"image/png"), (b"accept", b"text/event-stream")],
        }  # fmt: skip
        body = [{"type": "http.request", "body": IMAGE, "more_body": False}]

        async def receive() -> Message:
            if body:
                return body.pop()
            await asyncio.Event().wait()
            raise AssertionError("nobody sets this event")

        async with application.router.lifespan_context(application), asyncio.timeout(60):
            await front(scope, receive, send)
            # The thread's place is given back through the loop.
            while runtime.probe_lane.admitted:
                await asyncio.sleep(0.01)

    asyncio.run(scenario())


def test_a_reader_that_stops_reading_stops_the_attack_and_frees_its_place(
    models_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped = threading.Event()

    def attack(
        *_: object, cancelled: Callable[[], bool], progress: Callable[..., None], **__: object
    ) -> object:
        while not cancelled():
            progress(PROGRESS)
            time.sleep(0.001)
        stopped.set()
        return {}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()

    monkeypatch.setattr(ProbeProcesses, "run", attack)
    monkeypatch.setattr("serving.probing.route.SEND_S", 0.05)

    _stream(models_dir, send)
    assert stopped.is_set()


def test_a_slow_reader_is_told_the_latest_state_only(
    models_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    states, reported, last_told = 1000, threading.Event(), threading.Event()
    told: list[int] = []

    def attack(
        *_: object, cancelled: Callable[[], bool], progress: Callable[..., None], **__: object
    ) -> object:
        for state in range(states):
            progress(PROGRESS | {"gradient_evaluations": state})
        reported.set()
        last_told.wait(60)
        return {"verdict": "held", "budget": {"gradient_evaluations": states}}

    async def send(message: Message) -> None:
        event = message.get("body", b"").decode()
        if event.startswith("event: progress"):
            told.append(json.loads(event.partition("data: ")[2])["gradient_evaluations"])
            if told[-1] == states - 1:
                last_told.set()
            await asyncio.to_thread(reported.wait, 60)

    monkeypatch.setattr(ProbeProcesses, "run", attack)

    _stream(models_dir, send)
    assert told[-1] == states - 1
    assert len(told) <= 2


def test_an_unexpected_error_ends_the_stream_with_an_event(
    models_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mistaken(*_: object, **__: object) -> object:
        raise RuntimeError("a secret")

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    monkeypatch.setattr(ProbeProcesses, "run", mistaken)

    _stream(models_dir, send)
    assert sent[0]["status"] == 200
    event = sent[1]["body"].decode()
    assert event.startswith("event: problem\n")
    problem = json.loads(event.partition("data: ")[2])
    assert (problem["code"], problem["status"]) == ("internal_error", 500)
    assert problem["request_id"].encode() == dict(sent[0]["headers"])[b"x-request-id"]
    assert "secret" not in event
    assert sent[-1]["more_body"] is False


def test_a_socket_that_nobody_reads_loses_its_place(tmp_path: Path) -> None:
    write_color_bundle(tmp_path / "models", side=LARGE_SIDE)
    pixels = np.random.default_rng(0).integers(0, 200, (LARGE_SIDE, LARGE_SIDE, 3), dtype=np.uint8)
    pixels[..., 0] += 50
    image = pictures.encoded(Image.fromarray(pixels))
    path = "/probe?eps=0&label=green&include=adversarial&deadline_ms=30000"
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\nContent-Type: image/png\r\n"
        f"Content-Length: {len(image)}\r\n\r\n"
    ).encode()
    with running_server(tmp_path / "home", {"CLEAD_MODELS_DIR": str(tmp_path / "models")}) as server:
        with socket.socket() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
            connection.connect(("127.0.0.1", server.port))
            connection.sendall(head + image)
            _wait_for_lane(server, 1.0)
            _wait_for_verdict(server)
            _wait_for_lane(server, 0.0)
        assert ask(server.port, "POST", "/probe?eps=0", image, "image/png").status == 200


def _wait_for_lane(server: Server, occupied: float) -> None:
    _wait_for(server, f'clead_lane_occupied{{lane="probe"}} {occupied}')


def _wait_for_verdict(server: Server) -> None:
    _wait_for(server, "clead_probe_verdicts_total{")


def _wait_for(server: Server, words: str) -> None:
    deadline = time.monotonic() + 60
    while words not in ask(server.port, "GET", "/metrics").body.decode():
        assert time.monotonic() < deadline, f"the metrics never said {words}"
        time.sleep(0.05)
