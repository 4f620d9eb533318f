"""A full lane refuses early and cheaply, and says how often without a line for each."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import types
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from starlette.requests import Request
from starlette.responses import Response

from serving.observing.metrics import Metrics
from serving.observing.refusal_log import RefusalLog
from serving.observing.request_log import LOGGER
from serving.problems import Problem
from serving.refusal_pace import AT_ONCE, HOLD_S, RefusalPace
from serving.settings import Settings
from tests.serving import pictures
from tests.serving.in_process import asking, started


class Records(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keeps it."""
        self.records.append(record)


@pytest.fixture
def records() -> Iterator[list[logging.LogRecord]]:
    handler = Records()
    logging.getLogger(LOGGER).addHandler(handler)
    yield handler.records
    logging.getLogger(LOGGER).removeHandler(handler)


def test_refusals_are_counted_and_said_once_a_second(records: list[logging.LogRecord]) -> None:
    now, later = 0.0, list[tuple[float, Callable[[], None]]]()
    log = RefusalLog(
        "classify",
        Metrics().shed,
        clock=lambda: now,
        later=lambda seconds, action: later.append((now + seconds, action)),
    )

    def said() -> list[int]:
        return [record.__dict__["fields"]["refused"] for record in records]

    for at in (10.0, 10.25, 10.5):
        now = at
        log.refused("full")
    assert said() == [1]
    # Nobody else is refused, and the rest is said all the same.
    (now, action), *others = later
    action()
    assert (now, others, said()) == (11.0, [], [1, 2])
    for at in (11.5, 12.0):
        now = at
        log.refused("wait")
    assert said() == [1, 2, 2]
    # Said with what came meanwhile, and not again.
    later[1][1]()
    assert said() == [1, 2, 2]
    assert records[0].__dict__["fields"] == {"lane": "classify", "refused": 1}


def test_what_has_not_been_said_of_refusals_is_said_when_the_server_stops(
    models_dir: Path, records: list[logging.LogRecord]
) -> None:
    async def scenario() -> None:
        async with started(Settings(models_dir=models_dir)) as (_, runtime):
            for _ in range(3):
                runtime.classify_lane.refused("full")

    asyncio.run(scenario())
    said = [record.__dict__["fields"]["refused"] for record in records if record.getMessage() == "overloaded"]
    assert said == [1, 2]


def test_what_has_not_been_said_of_refusals_is_said_after_a_second(
    records: list[logging.LogRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.observing.refusal_log.EVERY_S", 0.01)

    async def scenario() -> None:
        log = RefusalLog("classify", Metrics().shed)
        for _ in range(3):
            log.refused("full")
        async with asyncio.timeout(60):
            while sum(record.__dict__["fields"]["refused"] for record in records) < 3:
                await asyncio.sleep(0.001)

    asyncio.run(scenario())


def test_many_refusals_in_a_second_are_held_back() -> None:
    now = 5.0
    pace = RefusalPace(clock=lambda: now)
    assert {pace.hold_s() for _ in range(AT_ONCE)} == {0.0}
    assert {pace.hold_s() for _ in range(10)} == {HOLD_S}
    now = 6.0
    assert {pace.hold_s() for _ in range(AT_ONCE)} == {0.0}
    assert pace.hold_s() == HOLD_S


@pytest.mark.parametrize(("path", "code"), [("/classify", "overloaded"), ("/probe", "not_recorded")])
def test_a_refusal_that_is_held_back_is_told_all_the_same(
    models_dir: Path, monkeypatch: pytest.MonkeyPatch, path: str, code: str
) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    async def scenario() -> None:
        async with started(Settings(models_dir=models_dir)) as (front, runtime), asking(front) as client:
            places = [runtime.classify_lane.admit() for _ in range(runtime.classify_lane.capacity)]
            while runtime.log.promise():
                pass
            runtime.refusal_pace = RefusalPace(clock=lambda: 0.0)
            monkeypatch.setattr("serving.front.asyncio", types.SimpleNamespace(sleep=sleep))
            replies = [await client.post(path, content=b"?") for _ in range(AT_ONCE + 3)]
            assert {(reply.status_code, reply.json()["code"]) for reply in replies} == {(503, code)}
            for place in places:
                with place:
                    pass

    asyncio.run(scenario())
    assert slept == [HOLD_S] * 3


def test_a_refusal_that_is_held_back_keeps_nothing_of_the_request(
    models_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Body:
        """Something that can be seen to go."""

    left: list[bool] = []

    async def scenario() -> None:
        async with started(Settings(models_dir=models_dir)) as (front, runtime), asking(front) as client:
            kept: list[weakref.ref[Body]] = []

            async def handler(_: Request) -> Response:
                body = Body()
                kept.append(weakref.ref(body))
                raise Problem("overloaded", "too many large images wait")

            async def sleep(_: float) -> None:
                left.append(kept[-1]() is not None)

            monkeypatch.setattr(front.application, "find", lambda _: handler)
            monkeypatch.setattr("serving.front.asyncio", types.SimpleNamespace(sleep=sleep))
            runtime.refusal_pace = RefusalPace(clock=lambda: 0.0)
            replies = [await client.post("/classify", content=b"?") for _ in range(AT_ONCE + 1)]
            assert {reply.status_code for reply in replies} == {503}

    asyncio.run(scenario())
    assert left == [False]


@pytest.mark.parametrize(
    ("path", "lane"),
    [("/classify", "classify"), ("/v2/models/colors/infer", "classify"), ("/probe", "probe")],
)
def test_a_full_lane_refuses_before_anything_is_read(
    models_dir: Path, records: list[logging.LogRecord], path: str, lane: str
) -> None:
    async def scenario() -> None:
        async with started(Settings(models_dir=models_dir)) as (front, runtime), asking(front) as client:
            taken = runtime.classify_lane if lane == "classify" else runtime.probe_lane
            places = [taken.admit() for _ in range(taken.capacity)]
            # A body of a kind that would be refused for itself, if anybody looked.
            replies = [
                await client.post(path, content=b"?", headers={"Content-Type": "x/y"}) for _ in range(3)
            ]
            for reply in replies:
                assert (reply.status_code, reply.json()["code"]) == (503, "overloaded")
                assert int(reply.headers["retry-after"]) >= 1 and reply.headers["x-request-id"]
            other = "/probe" if lane == "classify" else "/classify"
            reply = await client.post(other, content=b"?", headers={"Content-Type": "x/y"})
            assert reply.status_code == 415
            for place in places:
                with place:
                    pass
            reply = await client.post(path, content=pictures.plain())
            assert reply.status_code != 503
            shed = runtime.metrics.registry.get_sample_value(
                "clead_shed_total", {"lane": lane, "reason": "full"}
            )
            assert shed == 3

    asyncio.run(scenario())
    said = [record.getMessage() for record in records]
    # The first at once, and the others after a second or at the end.
    refused = [record.__dict__["fields"] for record in records if record.getMessage() == "overloaded"]
    assert refused == [{"lane": lane, "refused": 1}, {"lane": lane, "refused": 2}]
    # One for what was read and refused for itself, one for what was served.
    assert said.count("request") == 2


def test_a_refusal_that_cost_a_request_says_what_is_left(models_dir: Path) -> None:
    entry = f"{hashlib.sha256(b'k').hexdigest()} rate=5/h"

    async def scenario() -> None:
        settings = Settings(models_dir=models_dir, keys=(entry,))
        async with started(settings) as (front, runtime), asking(front) as client:
            places = [runtime.classify_lane.admit() for _ in range(runtime.classify_lane.capacity)]
            reply = await client.post("/classify", content=b"?", headers={"X-API-Key": "k"})
            assert (reply.status_code, reply.json()["code"]) == (503, "overloaded")
            assert reply.headers["ratelimit"].startswith('"key";r=4;t=')
            assert reply.headers["ratelimit-policy"] == '"key";q=5;w=3600'
            for place in places:
                with place:
                    pass

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("method", "path", "route"),
    [
        ("POST", "/classify", "classify"),
        ("POST", "/v2/models/colors/infer", "infer"),
        ("GET", "/models/colors", "model_card"),
        ("GET", "/probe", "probe"),
        ("GET", "/nowhere", "unmatched"),
    ],
)
def test_what_is_refused_by_its_headers_counts_for_the_route_that_it_asked_for(
    models_dir: Path, method: str, path: str, route: str
) -> None:
    entry = f"{hashlib.sha256(b'k').hexdigest()} scope=probe rate=1/h"

    async def scenario() -> None:
        settings = Settings(models_dir=models_dir, keys=(entry,))
        async with started(settings) as (front, runtime), asking(front) as client:
            counted = runtime.metrics.registry.get_sample_value
            assert (await client.request(method, path, content=b"?")).status_code == 401
            reply = await client.request(method, path, content=b"?", headers={"X-API-Key": "k"})
            reply = await client.request(method, path, content=b"?", headers={"X-API-Key": "k"})
            assert reply.status_code in (403, 429)
            runtime.later.flush()
            for status in (401, reply.status_code):
                labels = {"route": route, "status": str(status)}
                assert counted("clead_requests_total", labels), labels

    asyncio.run(scenario())


def test_what_a_full_lane_refuses_counts_for_its_route(models_dir: Path) -> None:
    async def scenario() -> None:
        async with started(Settings(models_dir=models_dir)) as (front, runtime), asking(front) as client:
            places = [runtime.classify_lane.admit() for _ in range(runtime.classify_lane.capacity)]
            assert (await client.post("/classify", content=b"?")).status_code == 503
            labels = {"route": "classify", "status": "503"}
            runtime.later.flush()
            assert runtime.metrics.registry.get_sample_value("clead_requests_total", labels) == 1
            for place in places:
                with place:
                    pass

    asyncio.run(scenario())
