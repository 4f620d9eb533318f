"""Servers that are told to stop while a client reads nothing, one worker of two that is told to, and a file
to drain by that another server wants as well.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path

import pytest
from starlette.types import Message

from serving.settings import Settings
from tests.serving import pictures
from tests.serving.asking import ask
from tests.serving.conftest import ROOT, Server, clean_environment, free_port, running_server
from tests.serving.in_process import started

COMMAND = [sys.executable, "-c", "from cli.main import main; main()", "serve"]
IMAGE = pictures.plain((140, 120, 10))
# Their answers are more than what the kernel and the server keep for a client who reads none of them.
REQUESTS = 500


def _until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.05)


def _answered(server: Server) -> int:
    text = ask(server.port, "GET", "/metrics").body.decode()
    found = re.search(r'clead_requests_total\{route="docs",status="200"\} (\d+)', text)
    return int(found[1]) if found else 0


@contextmanager
def _reads_nothing(server: Server) -> Iterator[None]:
    """A client with many requests who takes no answer; yields when the server waits for it."""
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        client.connect(("127.0.0.1", server.port))
        client.sendall(b"GET /docs HTTP/1.1\r\nHost: x\r\n\r\n" * REQUESTS)
        answered = [-1]

        def stalls() -> bool:
            answered.append(_answered(server))
            time.sleep(0.5)
            return answered[-1] == answered[-2] > 0

        _until(stalls)
        assert answered[-1] < REQUESTS
        yield


@pytest.mark.parametrize("command", [COMMAND, ()], ids=["clead serve", "bentoml serve"])
def test_a_client_who_reads_nothing_does_not_keep_a_server_from_ending(
    models_dir: Path, tmp_path: Path, command: list[str]
) -> None:
    settings = {
        "CLEAD_MODELS_DIR": str(models_dir),
        "CLEAD_PROBE": "0",
        "CLEAD_BODY_DEADLINE_MS": "1000",
        "CLEAD_CLASSIFY_DEADLINE_MS": "1000",
        "CLEAD_DRAIN_MS": "100",
    }
    with running_server(tmp_path, settings, command=command) as server, _reads_nothing(server):
        server.process.send_signal(signal.SIGTERM)
        # Without a bound it never ends.
        assert server.process.wait(90) in {0, -signal.SIGTERM}
    # As a server that has ended by itself says it, so that the bound was not that of somebody who killed it.
    assert "timeout graceful shutdown exceeded" in server.log.read_text()


def test_the_line_of_a_probe_does_not_wait_for_a_client_who_reads_nothing(
    models_dir: Path, audits: list[logging.LogRecord]
) -> None:
    async def scenario() -> None:
        async with started(Settings(models_dir=models_dir)) as (front, _), asyncio.timeout(60):
            stalls, stays = asyncio.Event(), asyncio.Event()
            body = iter([{"type": "http.request", "body": IMAGE, "more_body": False}])

            async def receive() -> Message:
                if (message := next(body, None)) is None:
                    await stays.wait()
                return message or {"type": "http.disconnect"}

            async def send(_: Message) -> None:
                stalls.set()
                await stays.wait()

            scope = {
                "type": "http", "method": "POST", "path": "/probe",
                "query_string": b"eps=0.1&steps=2&deadline_ms=30000",
                "headers": [(b"content-type", b"image/png"), (b"content-length", b"%d" % len(IMAGE))],
            }  # fmt: skip
            request = asyncio.create_task(front(scope, receive, send))
            await stalls.wait()
            assert [record.__dict__["fields"]["status"] for record in audits] == [200]
            stays.set()
            await request
            assert len(audits) == 1

    asyncio.run(scenario())


def _workers(server: Server) -> set[int]:
    replies = [ask(server.port, "GET", "/readyz") for _ in range(20)]
    return {reply.json["worker"] for reply in replies if reply.status == 200}


def test_one_worker_that_is_told_to_stop_does_not_close_the_server(models_dir: Path, tmp_path: Path) -> None:
    settings = {"CLEAD_MODELS_DIR": str(models_dir), "CLEAD_WORKERS": "2", "CLEAD_PROBE": "0"}
    with running_server(tmp_path, settings) as server:
        _until(lambda: len(_workers(server)) == 2)
        victim = min(_workers(server))
        seen: set[int] = set()
        lost = 0
        os.kill(victim, signal.SIGTERM)

        def replaced() -> bool:
            nonlocal lost
            try:
                reply = ask(server.port, "GET", "/readyz")
            # Nobody may be refused; one whom the worker had accepted may be reset.
            except ConnectionRefusedError:
                raise
            except (OSError, HTTPException):
                lost += 1
            else:
                seen.update({reply.json["worker"]} if reply.status == 200 else ())
            return len(seen - {victim}) == 2

        _until(replaced)
        assert lost <= 2
        # And once all are told to, everybody is refused.
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(60)
        with pytest.raises(ConnectionRefusedError):
            ask(server.port, "GET", "/livez")


def test_a_server_that_drains_goes_on_when_another_wants_its_file(models_dir: Path, tmp_path: Path) -> None:
    file = tmp_path / "drain"
    settings = {
        "CLEAD_MODELS_DIR": str(models_dir),
        "CLEAD_PROBE": "0",
        "CLEAD_DRAIN_FILE": str(file),
        "CLEAD_DRAIN_MS": "600000",
    }
    with running_server(tmp_path / "home", settings) as server:
        file.touch()
        _until(lambda: ask(server.port, "GET", "/readyz").status == 503)
        other = subprocess.run(
            [*COMMAND, "--port", str(free_port())],
            cwd=ROOT,
            env=clean_environment(tmp_path / "home", settings),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert other.returncode != 0
        assert "CLEAD_DRAIN_FILE" in other.stderr and "a file of its own" in other.stderr
        assert "Traceback" not in other.stderr
        assert file.exists()
        assert "draining" in ask(server.port, "GET", "/readyz").json["detail"]
