"""A server whose log nobody reads any more: it answers all the same, and nothing that counts is lost."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from serving.settings import Settings
from tests.serving import pictures
from tests.serving.asking import ask
from tests.serving.conftest import ROOT, Server, clean_environment, free_port, wait_until_200
from tests.serving.in_process import asking, started

PIPE_BYTES = 4096
REQUESTS = 60
IMAGE = pictures.plain((140, 120, 10))


class Reader:
    """Reads a pipe until it is told to pause, and then again."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe
        self._reading, self._idle, self._ended = threading.Event(), threading.Event(), False
        self._changed = threading.Condition()
        self.seen = b""
        self._reading.set()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def pause(self) -> None:
        self._reading.clear()
        assert self._idle.wait(60)

    def go_on(self) -> None:
        self._idle.clear()
        self._reading.set()

    def wait_for(self, text: bytes) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: text in self.seen, 60), self.seen

    def end(self) -> None:
        self._ended = True
        self.go_on()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended:
            if not self._reading.is_set():
                self._idle.set()
                self._reading.wait()
            if select.select([self._pipe], [], [], 0.05)[0]:
                with self._changed:
                    self.seen += os.read(self._pipe, PIPE_BYTES)
                    self._changed.notify_all()


@contextmanager
def _logging_to_a_pipe(home: Path, models: Path) -> Iterator[tuple[Server, Reader]]:
    port = free_port()
    settings = {"CLEAD_PORT": str(port), "CLEAD_MODELS_DIR": str(models), "CLEAD_ENGINE": "cpu"}
    pipe, end = os.pipe()
    fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    reader = Reader(pipe)
    process = subprocess.Popen(
        [sys.executable, "-m", "bentoml", "serve", "serving.service:Service"],
        cwd=ROOT, env=clean_environment(home, settings), stdout=end, stderr=end,
    )  # fmt: skip
    os.close(end)
    try:
        server = Server(url=f"http://127.0.0.1:{port}", port=port, process=process, log=home / "unused")
        wait_until_200(server, "/readyz", settings)
        yield server, reader
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        finally:
            reader.end()
            os.close(pipe)


def _classify(port: int, name: str) -> int:
    return ask(port, "POST", "/classify", IMAGE, "image/png", {"X-Request-ID": name}).status


def _lines(seen: bytes, message: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in seen.splitlines() if line.startswith(b"{") and line.endswith(b"}")]
    return [line for line in found if line["message"] == message]


@pytest.mark.skipif(not hasattr(fcntl, "F_SETPIPE_SZ"), reason="the size of a pipe is Linux' to choose")
def test_a_log_that_nobody_reads_stops_nothing_and_is_written_once_it_is_read(
    tmp_path: Path, models_dir: Path
) -> None:
    with _logging_to_a_pipe(tmp_path, models_dir) as (server, reader):
        reader.pause()
        for number in range(REQUESTS):
            assert _classify(server.port, f"r{number}") == 200
        # uvicorn says something about it, from the event loop.
        with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
            connection.sendall(b"nonsense\r\n\r\n")
            assert connection.recv(100).startswith(b"HTTP/1.1 400")
        assert ask(server.port, "POST", "/probe?eps=4/255", IMAGE, "image/png").status == 200
        assert ask(server.port, "GET", "/livez").status == 200
        assert b'"r59"' not in reader.seen
        reader.go_on()
        reader.wait_for(b'"audit"')
        reader.wait_for(b"/probe")
        classified = [line for line in _lines(reader.seen, "request") if line["path"] == "/classify"]
        assert [line["request_id"] for line in classified] == [f"r{number}" for number in range(REQUESTS)]
        assert len(_lines(reader.seen, "audit")) == 1
        reader.pause()
        for number in range(REQUESTS):
            assert _classify(server.port, f"s{number}") == 200
        # It is told to stop, and ends, with its log as it is.


def test_a_probe_that_cannot_be_put_on_record_is_refused_before_it_computes(models_dir: Path) -> None:
    async def scenario() -> None:
        async with started(Settings(models_dir=models_dir)) as (front, runtime), asking(front) as client:
            promised = 0
            while runtime.log.promise():
                promised += 1
            assert promised > runtime.settings.uploads
            reply = await client.post("/probe", content=IMAGE)
            assert (reply.status_code, reply.json()["code"]) == (503, "not_recorded")
            assert reply.headers["retry-after"] == "5"
            assert (
                "too many probes are on their way at once, or nobody reads the log" in reply.json()["detail"]
            )
            value = runtime.metrics.registry.get_sample_value
            assert value("clead_refused_total", {"code": "not_recorded"}) == 1
            assert value("clead_lane_wait_seconds_count", {"lane": "probe"}) == 0

    asyncio.run(scenario())


def test_what_is_dropped_is_counted(models_dir: Path) -> None:
    async def scenario() -> None:
        async with started(Settings(models_dir=models_dir)) as (_, runtime):
            runtime.log._most_lines = 0
            runtime.log.put("one too many")
            value = runtime.metrics.registry.get_sample_value
            assert value("clead_log_lines_dropped_total") == 1

    asyncio.run(scenario())
