"""What happens when a handler fails, a client goes, or a body never comes; in this process."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from starlette.types import Message, Scope

from engines.engine import EngineError
from serving.application import Application
from serving.front import Front
from serving.models.model import Model
from serving.observing.request_log import LOGGER, JsonLines
from serving.runtime import Runtime
from serving.settings import Settings
from tests.serving import pictures
from tests.serving.in_process import asking, started

IMAGE = pictures.plain()


def _run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def body() -> None:
        await scenario()

    asyncio.run(body())


def _count(runtime: Runtime, status: int) -> float | None:
    labels = {"route": "classify", "status": str(status)}
    runtime.later.flush()
    return runtime.metrics.registry.get_sample_value("clead_requests_total", labels)


def test_an_unexpected_error_is_a_problem_without_its_text(
    models_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with started(Settings(models_dir=models_dir)) as (front, runtime):

            async def model(*_: object, **__: object) -> None:
                raise RuntimeError("a secret")

            monkeypatch.setattr(runtime, "model", model)
            async with asking(front) as client:
                reply = await client.post("/classify", content=IMAGE)
            assert (reply.status_code, reply.json()["code"]) == (500, "internal_error")
            assert reply.headers["content-type"] == "application/problem+json"
            assert "secret" not in reply.text
            assert _count(runtime, 500) == 1

    _run(scenario)


def test_a_failing_engine_is_said_to_be_one(models_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with started(Settings(models_dir=models_dir)) as (front, runtime):
            engine = runtime.registry.get(None).engine

            def fail(*_: object) -> None:
                raise EngineError("the GPU is gone")

            monkeypatch.setattr(engine, "logits", fail)
            monkeypatch.setattr(runtime.probes, "run", lambda *_, **__: fail())
            async with asking(front) as client:
                for path in ("/classify", "/probe"):
                    reply = await client.post(path, content=IMAGE)
                    assert (reply.status_code, reply.json()["code"]) == (503, "engine_failed")
                    assert reply.json()["model"]["name"] == "colors"

    _run(scenario)


def test_a_model_that_cannot_be_loaded_leaves_a_server_that_says_so(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with started(Settings(models_dir=tmp_path)) as (front, _), asking(front) as client:
            for method, path in (("GET", "/readyz"), ("POST", "/classify"), ("POST", "/probe")):
                reply = await client.request(method, path, content=IMAGE)
                assert (reply.status_code, reply.json()["code"]) == (503, "not_ready")
                assert "no model" in reply.json()["detail"]
                assert reply.headers["retry-after"] == "1"
            assert (await client.get("/livez")).status_code == 200

    _run(scenario)


def test_a_request_waits_for_a_worker_that_is_still_loading(
    models_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()
    load = Runtime._load

    def slow_load(runtime: Runtime, reference: str | None) -> Model:
        release.wait()
        return load(runtime, reference)

    monkeypatch.setattr(Runtime, "_load", slow_load)

    async def scenario() -> None:
        runtime = Runtime(Settings(models_dir=models_dir, probe=False))
        application = Application(runtime)
        front = Front(application, application=application)
        async with application.router.lifespan_context(application), asking(front) as client:
            classified = asyncio.create_task(client.post("/classify", content=IMAGE))
            try:
                assert (await client.get("/readyz")).json()["code"] == "not_ready"
                assert not classified.done()
            finally:
                release.set()
            assert (await classified).status_code == 200
            assert (await client.get("/readyz")).status_code == 200

    _run(scenario)


async def _speak(front: Front, messages: list[Message]) -> list[Message]:
    """A POST to /classify whose body is `messages`; after the last one, the client stays silent."""
    scope: Scope = {
        "type": "http", "method": "POST", "path": "/classify", "raw_path": b"/classify", "query_string": b"",
        "root_path": "", "scheme": "http", "http_version": "1.1", "server": ("127.0.0.1", 80),
        "headers": [(b"content-type", b"image/png")],
    }  # fmt: skip
    sent: list[Message] = []

    async def receive() -> Message:
        if messages:
            return messages.pop(0)
        await asyncio.Event().wait()
        raise AssertionError("nobody sets this event")

    async def send(message: Message) -> None:
        sent.append(message)

    await front(scope, receive, send)
    return sent


def test_a_body_that_never_comes_is_given_up(models_dir: Path) -> None:
    async def scenario() -> None:
        settings = Settings(models_dir=models_dir, body_deadline_ms=50)
        async with started(settings) as (front, runtime):
            sent = await _speak(front, [{"type": "http.request", "body": IMAGE[:10], "more_body": True}])
            assert sent[0]["status"] == 408
            assert json.loads(sent[1]["body"])["code"] == "body_timeout"
            assert runtime.classify_lane.admitted == 0

    _run(scenario)


def test_a_client_that_goes_away_is_no_error_of_the_server(models_dir: Path) -> None:
    async def scenario() -> None:
        async with started(Settings(models_dir=models_dir)) as (front, runtime):
            await _speak(front, [{"type": "http.disconnect"}])
            assert _count(runtime, 499) == 1
            assert _count(runtime, 500) is None
            assert runtime.classify_lane.admitted == 0

    _run(scenario)


def test_the_default_model_is_never_dropped_for_another(models_dir: Path, tmp_path: Path) -> None:
    from tests.serving.color_bundle import write_color_bundle

    for name in ("colors", "other", "third"):
        write_color_bundle(tmp_path, name=name)

    async def scenario() -> None:
        settings = Settings(models_dir=tmp_path, default_model="colors", max_loaded_models=2)
        async with started(settings) as (front, runtime), asking(front) as client:
            for name in ("other", "third"):
                reply = await client.post("/classify", params={"model": name}, content=IMAGE)
                assert reply.json()["model"]["name"] == name
            assert set(runtime.registry.in_memory()) == {"colors/1", "third/1"}

    _run(scenario)


def test_a_new_version_is_served_once_it_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.serving.color_bundle import write_color_bundle

    monkeypatch.setattr("serving.runtime.FOLLOW_S", 0.01)
    write_color_bundle(tmp_path)

    async def scenario() -> None:
        settings = Settings(models_dir=tmp_path, probe=False)
        async with started(settings) as (front, _), asking(front) as client, asyncio.timeout(60):
            versions = [(await client.post("/classify", content=IMAGE)).json()["model"]["version"]]
            write_color_bundle(tmp_path, version="2")
            while versions[-1] == "1":
                versions.append((await client.post("/classify", content=IMAGE)).json()["model"]["version"])
            assert versions[-1] == "2"

    _run(scenario)


def test_a_log_line_is_one_json_object() -> None:
    record = logging.LogRecord(LOGGER, logging.INFO, "", 0, "two\nlines", None, None)
    record.fields = {"path": "/\n", "status": 200}

    line = JsonLines().format(record)

    assert "\n" not in line
    assert json.loads(line) | {"time": ""} == {
        "time": "", "level": "info", "message": "two\nlines", "path": "/\n", "status": 200,
    }  # fmt: skip
