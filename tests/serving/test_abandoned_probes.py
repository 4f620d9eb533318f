"""Probes whose clients have left: those that wait give their places back at once."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Message, Scope

from serving.application import Application
from serving.front import Front
from serving.lanes import JobDropped, JobThreads, Lane
from serving.probing.processes import ProbeProcesses
from serving.problems import Problem
from serving.runtime import Runtime
from serving.settings import Settings
from tests.serving import pictures

IMAGE = pictures.plain((140, 120, 10))


class _Client:
    """One who sends a probe, and leaves when told to."""

    def __init__(self, accept: bytes = b"application/json") -> None:
        self.scope: Scope = {
            "type": "http", "method": "POST", "path": "/probe", "raw_path": b"/probe", "query_string": b"",
            "root_path": "", "scheme": "http", "http_version": "1.1", "server": ("127.0.0.1", 80),
            "headers": [(b"content-type", b"image/png"), (b"accept", accept)],
        }  # fmt: skip
        self.left = asyncio.Event()
        self.asked = 0
        self._body = [IMAGE]

    async def receive(self) -> Message:
        """The body, and that the client has left."""
        if self._body:
            return {"type": "http.request", "body": self._body.pop(), "more_body": False}
        self.asked += 1
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """Throws it away."""


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("accept", [b"application/json", b"text/event-stream"])
def test_probes_that_wait_are_dropped_when_their_clients_leave_and_are_on_record(
    models_dir: Path, audits: list[logging.LogRecord], monkeypatch: pytest.MonkeyPatch, accept: bytes
) -> None:
    begun: list[None] = []
    release = threading.Event()

    def attack(*_: object, **__: object) -> object:
        begun.append(None)
        assert release.wait(60)
        return {"verdict": "held", "threat": None, "budget": {"gradient_evaluations": 0}}

    monkeypatch.setattr(ProbeProcesses, "run", attack)

    async def scenario() -> None:
        runtime = Runtime(Settings(models_dir=models_dir, probe_concurrency=1, access_log=False))
        application = Application(runtime)
        front = Front(application, application=application)
        lane = runtime.probe_lane
        async with application.router.lifespan_context(application):
            first, *waiting = [_Client(accept) for _ in range(lane.capacity)]
            answers = [
                asyncio.create_task(front(client.scope, client.receive, client.send))
                for client in (first, *waiting)
            ]
            await _until(lambda: lane.admitted == lane.capacity and bool(begun))
            # All of them have been handed to the thread.
            await _until(lambda: all(client.asked for client in (first, *waiting)))
            for client in waiting:
                client.left.set()
            await _until(lambda: lane.admitted == 1)
            await _until(lambda: len(audits) == len(waiting))
            fields = [record.__dict__["fields"] for record in audits]
            assert [(one["status"], one["verdict"]) for one in fields] == [(499, None)] * len(waiting)
            assert all(one["model_sha256"] and one["threat"] for one in fields)
            release.set()
            await asyncio.gather(*answers)
            assert len(begun) == 1
            assert audits[-1].__dict__["fields"]["status"] == 200

    asyncio.run(scenario())


def test_a_dropped_job_frees_its_place_at_once_and_is_forgotten_unless_it_has_begun() -> None:
    class Job:
        def __call__(self) -> None:
            raise AssertionError("it was dropped")

    async def dropped_job(lane: Lane[Callable[[], Any]]) -> weakref.ref[Job]:
        job = Job()
        with lane.admit() as place:
            waiting = asyncio.create_task(place.run(job, deadline_s=60))
            await asyncio.sleep(0)
            place.drop()
            await asyncio.wait([waiting])
            assert isinstance(waiting.exception(), JobDropped)
        return weakref.ref(job)

    async def scenario() -> None:
        now = 0.0
        begun, release = threading.Event(), threading.Event()
        lane: Lane[Callable[[], Any]] = Lane(
            "test", JobThreads("test", threads=1), places=2, clock=lambda: now
        )

        def first_job() -> str:
            begun.set()
            assert release.wait(60)
            return "done"

        with lane.admit() as first:
            running = asyncio.create_task(first.run(first_job, deadline_s=60))
            await asyncio.to_thread(begun.wait, 60)
            dropped = [await dropped_job(lane) for _ in range(3)]
            await _until(lambda: lane.admitted == 1)
            gc.collect()
            assert [job() for job in dropped] == [None] * 3
            first.drop()
            now = 30.0
            release.set()
            assert await running == "done"
        await _until(lambda: lane.admitted == 0)
        # The three that were dropped took no time, which says nothing about the next one.
        with lane.admit(), lane.admit():
            ended = lane.begin()
            with pytest.raises(Problem) as caught:
                lane.admit()
            assert caught.value.headers["Retry-After"] == "30"
            ended()
        lane.close()

    asyncio.run(scenario())


def test_a_job_whose_task_is_cancelled_is_not_called_dropped() -> None:
    async def scenario() -> None:
        release = threading.Event()
        lane: Lane[Callable[[], Any]] = Lane("test", JobThreads("test", threads=1), places=2)
        with lane.admit() as place:
            task = asyncio.create_task(place.run(release.wait, deadline_s=60))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        place.drop()
        release.set()
        await _until(lambda: lane.admitted == 0)
        lane.close()

    asyncio.run(scenario())
