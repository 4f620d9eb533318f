"""The line that every probe leaves, whatever becomes of it."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from starlette.types import Message, Scope

from engines.engine import EngineError
from serving.application import Application
from serving.front import Front
from serving.observing.request_log import JsonLines
from serving.probing.processes import ProbeProcesses
from serving.refusal_pace import AT_ONCE, RefusalPace
from serving.runtime import Runtime
from serving.settings import Settings
from tests.serving import pictures
from tests.serving.asking import form

KEYS = {"alice": "scope=probe scope=probe:images", "bob": "scope=classify", "carol": "scope=probe rate=1/h"}
IMAGE = pictures.plain((140, 120, 10))
Fields = Mapping[str, Any]


@asynccontextmanager
async def _serving(models_dir: Path) -> AsyncIterator[Front]:
    entries = tuple(
        f"{hashlib.sha256(name.encode()).hexdigest()} name={name} {rest}" for name, rest in KEYS.items()
    )
    runtime = Runtime(Settings(models_dir=models_dir, keys=entries, access_log=False))
    application = Application(runtime)
    async with application.router.lifespan_context(application), asyncio.timeout(60):
        yield Front(application, application=application)


def _run(models_dir: Path, scenario: Callable[[Front], Coroutine[Any, Any, None]]) -> None:
    async def body() -> None:
        async with _serving(models_dir) as front:
            await scenario(front)

    asyncio.run(body())


async def _probe(
    front: Front, query: str = "", *, key: str = "alice", body: bytes = IMAGE, **headers: str
) -> httpx.Response:
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(front, client=("10.1.2.3", 4)), base_url="http://127.0.0.1"
    ) as client:
        sent = {"X-API-Key": key} | headers
        return await client.post(f"/probe?{query}", content=body, headers=sent, timeout=60)


def _fields(record: logging.LogRecord) -> Fields:
    fields: Fields = record.__dict__["fields"]
    return fields


def test_a_probe_is_on_record_without_image_or_key(models_dir: Path, audits: list[logging.LogRecord]) -> None:
    async def scenario(front: Front) -> None:
        reply = await _probe(
            front, "eps=4/255,12/255&include=adversarial&deadline_ms=30000", **{"X-Request-ID": "r1"}
        )
        assert reply.status_code == 200
        assert [record.getMessage() for record in audits] == ["audit"]
        fields = _fields(audits[0])
        assert fields["milliseconds"] > 0
        assert fields | {"milliseconds": 0} == {
            "request_id": "r1", "key": "alice", "client": "10.1.2.3",
            "model_sha256": reply.json()["model"]["sha256"],
            "threat": {"norm": "linf", "eps": pytest.approx(12 / 255)}, "include": ("adversarial",),
            "verdict": "flipped", "status": 200, "milliseconds": 0,
        }  # fmt: skip
        line = JsonLines().format(audits[0])
        assert len(line) < 500
        assert "base64" not in line and hashlib.sha256(b"alice").hexdigest() not in line

    _run(models_dir, scenario)


@pytest.mark.parametrize(
    ("key", "query", "status", "name"),
    [
        ("unknown", "", 401, None),
        ("bob", "", 403, "bob"),
        ("carol", "include=adversarial", 403, "carol"),
        ("alice", "eps=much", 422, "alice"),
        ("alice", "model=none", 404, "alice"),
    ],
)
def test_a_refused_probe_is_on_record(
    models_dir: Path, audits: list[logging.LogRecord], key: str, query: str, status: int, name: str | None
) -> None:
    async def scenario(front: Front) -> None:
        assert (await _probe(front, query, key=key)).status_code == status
        (fields,) = map(_fields, audits)
        assert (fields["status"], fields["key"], fields["verdict"]) == (status, name, None)

    _run(models_dir, scenario)


@pytest.mark.parametrize("in_form", [False, True])
@pytest.mark.parametrize(
    ("key", "rest", "status"),
    [("carol", {}, 403), ("alice", {"eps": "much"}, 422), ("alice", {"nonsense": "1"}, 422)],
)
def test_images_that_were_refused_are_on_record(
    models_dir: Path, audits: list[logging.LogRecord], key: str, rest: Mapping[str, str], status: int,
    in_form: bool,
) -> None:  # fmt: skip
    asked = {"include": "difference, secret ,adversarial", **rest}

    async def scenario(front: Front) -> None:
        if in_form:
            parts = [
                ("image", "a.png", IMAGE),
                *((name, None, text.encode()) for name, text in asked.items()),
            ]
            body, content_type = form(parts)
            reply = await _probe(front, key=key, body=body, **{"Content-Type": content_type})
        else:
            reply = await _probe(front, urlencode(asked), key=key)
        assert reply.status_code == status
        (fields,) = map(_fields, audits)
        assert fields["include"] == ("adversarial", "difference")
        assert "secret" not in JsonLines().format(audits[0])

    _run(models_dir, scenario)


@pytest.mark.parametrize(("key", "status"), [("unknown", 401), ("bob", 403)])
def test_images_that_were_refused_before_anything_was_read_are_on_record(
    models_dir: Path, audits: list[logging.LogRecord], key: str, status: int
) -> None:
    async def scenario(front: Front) -> None:
        reply = await _probe(front, "include=adversarial&include=difference", key=key)
        assert reply.status_code == status
        assert _fields(audits[0])["include"] == ("adversarial", "difference")

    _run(models_dir, scenario)


def test_a_probe_over_the_quota_is_on_record(models_dir: Path, audits: list[logging.LogRecord]) -> None:
    async def scenario(front: Front) -> None:
        for _ in range(2):
            await _probe(front, "eps=4/255", key="carol")
        assert [(fields["status"], fields["key"]) for fields in map(_fields, audits)] == [
            (200, "carol"),
            (429, "carol"),
        ]

    _run(models_dir, scenario)


@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
@pytest.mark.parametrize(("error", "status"), [(EngineError("away"), 503), (RuntimeError("a mistake"), 500)])
def test_a_probe_that_fails_is_on_record_also_within_a_stream(
    models_dir: Path,
    audits: list[logging.LogRecord],
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    status: int,
    accept: str,
) -> None:
    def fail(*_: object, **__: object) -> object:
        raise error

    monkeypatch.setattr(ProbeProcesses, "run", fail)

    async def scenario(front: Front) -> None:
        await _probe(front, "eps=4/255,8/255", Accept=accept)
        (fields,) = map(_fields, audits)
        assert (fields["status"], fields["verdict"]) == (status, None)
        assert fields["threat"] == {"norm": "linf", "eps": pytest.approx(8 / 255)}
        assert fields["model_sha256"]

    _run(models_dir, scenario)


def test_a_streamed_result_is_on_record(models_dir: Path, audits: list[logging.LogRecord]) -> None:
    async def scenario(front: Front) -> None:
        await _probe(front, "eps=12/255&deadline_ms=30000", Accept="text/event-stream")
        (fields,) = map(_fields, audits)
        assert (fields["status"], fields["verdict"]) == (200, "flipped")

    _run(models_dir, scenario)


@pytest.mark.parametrize("accept", [b"application/json", b"text/event-stream"])
def test_a_probe_whose_client_goes_away_is_on_record(
    models_dir: Path, audits: list[logging.LogRecord], monkeypatch: pytest.MonkeyPatch, accept: bytes
) -> None:
    def attack(*_: object, cancelled: Callable[[], bool], **__: object) -> object:
        while not cancelled():
            pass
        return {}

    monkeypatch.setattr(ProbeProcesses, "run", attack)
    messages: list[Message] = [
        {"type": "http.request", "body": IMAGE, "more_body": False},
        {"type": "http.disconnect"},
    ]
    scope: Scope = {
        "type": "http", "method": "POST", "path": "/probe", "raw_path": b"/probe", "query_string": b"",
        "root_path": "", "scheme": "http", "http_version": "1.1", "server": ("127.0.0.1", 80),
        "headers": [(b"content-type", b"image/png"), (b"x-api-key", b"alice"), (b"accept", accept)],
    }  # fmt: skip

    async def receive() -> Message:
        return messages.pop(0)

    async def send(_: Message) -> None:
        pass

    async def scenario(front: Front) -> None:
        await front(scope, receive, send)
        (fields,) = map(_fields, audits)
        assert (fields["status"], fields["key"], fields["client"]) == (499, "alice", None)

    _run(models_dir, scenario)


def test_a_probe_whose_refusal_is_told_later_is_on_record_before(
    models_dir: Path, audits: list[logging.LogRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    on_record: list[int] = []

    async def sleep(_: float) -> None:
        on_record.append(len(audits))

    async def scenario(front: Front) -> None:
        lane = front.runtime.probe_lane
        front.runtime.refusal_pace = RefusalPace(clock=lambda: 0.0)
        monkeypatch.setattr("serving.front.asyncio", SimpleNamespace(sleep=sleep))
        with ExitStack() as places:
            for _ in range(lane.capacity):
                places.enter_context(lane.admit())
            for _ in range(AT_ONCE + 1):
                assert (await _probe(front)).status_code == 503
        assert on_record == [AT_ONCE + 1]
        assert [_fields(record)["status"] for record in audits] == [503] * (AT_ONCE + 1)

    _run(models_dir, scenario)


def test_a_mistake_before_a_probe_is_let_in_is_on_record(
    models_dir: Path, audits: list[logging.LogRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Application, __: Scope) -> None:
        raise RuntimeError("a mistake")

    monkeypatch.setattr(Application, "find", fail)

    async def scenario(front: Front) -> None:
        reply = await _probe(front)
        assert (reply.status_code, reply.json()["code"]) == (500, "internal_error")
        assert [_fields(record)["status"] for record in audits] == [500]

    _run(models_dir, scenario)


def test_only_probes_are_audited(models_dir: Path, audits: list[logging.LogRecord]) -> None:
    async def scenario(front: Front) -> None:
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(front), base_url="http://127.0.0.1"
        ) as client:
            await client.post("/classify", content=IMAGE, headers={"X-API-Key": "bob"})
            await client.get("/probe", headers={"X-API-Key": "alice"})
        assert audits == []

    _run(models_dir, scenario)
