"""POST /probe: as one JSON object, or as a stream of events that ends with it."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from collections.abc import AsyncGenerator, Callable, Container, Mapping
from contextlib import aclosing, suppress
from functools import partial
from typing import Any, TypeAlias

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from engines.engine import EngineError
from serving.access.access import IMAGES_PARAMETER, check_scope, key_of
from serving.access.audit import ProbeRecord
from serving.errors import CLIENT_CLOSED_REQUEST
from serving.json_answer import JsonAnswer
from serving.lanes import JobDropped, Place
from serving.observing.request_log import LOGGER
from serving.observing.tracing import trace_of
from serving.probing.job import ProbeJob
from serving.probing.parameters import collect_probe_parameters, probe_deadline_s, probe_request
from serving.probing.process import GRACE_S
from serving.problems import MISTAKE, Problem, deadline_exceeded
from serving.runtime import Runtime, runtime_of
from serving.uploads.body import Upload, read_upload

EVENT_STREAM = "text/event-stream"
_EVENT_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
# A reader of events who takes none for so long has left without a word.
SEND_S = 10.0
ProbePlace: TypeAlias = Place[Callable[[], Any]]
_LOG = logging.getLogger(LOGGER)


async def probe(request: Request) -> Response:
    """Attacks the answer for one image."""
    runtime = runtime_of(request)
    if not runtime.settings.probe:
        raise Problem("probe_disabled", "this server does not probe: the operator can set CLEAD_PROBE=1")
    _check_images_scope(request, request.query_params)
    upload = await read_upload(
        request,
        max_bytes=runtime.settings.max_body_bytes,
        max_images=1,
        deadline_s=runtime.settings.body_deadline_ms / 1000,
    )
    _record(request).wanted(upload.fields)
    with runtime.probe_lane.admit() as place:
        job = await _job(request, runtime, upload)
        if EVENT_STREAM in request.headers.get("accept", ""):
            place.keep()
            # Until the last event has been taken, nobody has had an answer.
            _record(request).status = CLIENT_CLOSED_REQUEST
            return EventStream(_events(request, runtime, place, job), place)
        report = await _watched(request, runtime, place, job)
    return JsonAnswer(_counted(request, runtime, report))


class EventStream(Response):
    """Sends server-sent events as they come, and frees the place in the lane after the last one, or once the
    reader has stopped reading for `SEND_S`.
    """

    def __init__(self, events: AsyncGenerator[str, None], place: ProbePlace) -> None:
        super().__init__(headers=_EVENT_HEADERS, media_type=EVENT_STREAM)
        del self.headers["content-length"]
        self._events = events
        self._place = place

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def sending(message: Message) -> None:
            async with asyncio.timeout(SEND_S):
                await send(message)

        with self._place, suppress(TimeoutError):
            async with aclosing(self._events) as events:
                await sending({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
                async for event in events:
                    await sending({"type": "http.response.body", "body": event.encode(), "more_body": True})
                await sending({"type": "http.response.body", "body": b"", "more_body": False})


async def _job(request: Request, runtime: Runtime, upload: Upload) -> ProbeJob:
    settings = runtime.settings
    values = collect_probe_parameters(request.query_params.multi_items(), upload.fields)
    _check_images_scope(request, values)
    deadline = time.monotonic() + probe_deadline_s(values, settings)
    model = await runtime.model(values.get("model"), deadline=deadline)
    request.state.model = model.identity
    attack = probe_request(values, model.bundle.manifest, settings)
    _record(request).asked(attack)
    return ProbeJob(
        model=model,
        data=upload.images[0],
        request=attack,
        max_pixels=settings.max_pixels,
        deadline=deadline,
    )


def _check_images_scope(request: Request, given: Container[str]) -> None:
    if IMAGES_PARAMETER in given:
        check_scope(key_of(request), "probe:images")


def _record(request: Request) -> ProbeRecord:
    record: ProbeRecord = request.state.audit
    return record


async def _watched(
    request: Request,
    runtime: Runtime,
    place: ProbePlace,
    job: ProbeJob,
    progress: Callable[[Mapping[str, Any]], None] | None = None,
) -> Mapping[str, Any]:
    """The report; the attack is cancelled, within one step, when the client goes away.

    Raises:
        Problem: as `ProbeProcess.run`; deadline_exceeded: it has not begun, or not ended, in time.
    """
    loop, gone = asyncio.get_running_loop(), threading.Event()
    limit = asyncio.timeout(_seconds_until(job.deadline) + GRACE_S)

    def postpone(deadline: float) -> None:
        # By then nobody may wait any more.
        with suppress(RuntimeError):
            limit.reschedule(loop.time() + _seconds_until(deadline) + GRACE_S)

    def begun(deadline: float) -> None:
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(postpone, deadline)

    attack: Callable[[], Any] = partial(
        runtime.probes.run, job, cancelled=gone.is_set, progress=progress, on_begin=begun
    )
    if (trace := trace_of(request.scope)) is not None:
        attack = trace.call(attack)
    watcher = asyncio.create_task(_until_disconnect(request, gone, place))
    try:
        async with limit:
            report: Mapping[str, Any] = await place.run(attack, deadline_s=runtime.settings.longest_request_s)
        if gone.is_set():
            raise ClientDisconnect
        return report
    except TimeoutError:
        raise deadline_exceeded("the answer was not ready before the deadline") from None
    except JobDropped:
        raise ClientDisconnect from None
    finally:
        # Whatever ended the waiting, nobody waits for the attack any more.
        gone.set()
        watcher.cancel()
        with suppress(asyncio.CancelledError):
            await watcher


def _seconds_until(deadline: float) -> float:
    return max(0.0, deadline - time.monotonic())


async def _until_disconnect(request: Request, gone: threading.Event, place: ProbePlace) -> None:
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            gone.set()
            place.drop()
            return
        # The body has been read to its end: a server that repeats the empty rest must not spin here.
        await asyncio.sleep(0.05)


async def _events(
    request: Request, runtime: Runtime, place: ProbePlace, job: ProbeJob
) -> AsyncGenerator[str, None]:
    loop, news = asyncio.get_running_loop(), asyncio.Event()
    record = _record(request)
    latest: Mapping[str, Any] = {}

    def tell(state: Mapping[str, Any]) -> None:
        nonlocal latest
        latest = state
        news.set()

    def failed(problem: Problem) -> str:
        record.status = problem.status
        return _event("problem", _problem_body(request, problem))

    def progress(state: Mapping[str, Any]) -> None:
        loop.call_soon_threadsafe(tell, state)

    task = asyncio.create_task(_watched(request, runtime, place, job, progress))
    task.add_done_callback(lambda _: news.set())
    try:
        while True:
            # A reader slower than the attack is told the latest state only, so that nothing piles up.
            await news.wait()
            news.clear()
            if task.done():
                break
            yield _event("progress", latest)
        yield _event("result", _counted(request, runtime, task.result()))
        record.status = 200
    except Problem as problem:
        yield failed(problem)
    except ClientDisconnect:
        return
    except EngineError:
        yield failed(Problem("engine_failed", "the engine did not answer"))
    # The status line has been sent: only an event can still say that something went wrong.
    except Exception:
        _LOG.exception("unexpected error", extra={"fields": {"request_id": request.state.request_id}})
        yield failed(Problem("internal_error", MISTAKE))
    finally:
        task.cancel()


def _problem_body(request: Request, problem: Problem) -> Mapping[str, Any]:
    body = problem.body(request_id=request.state.request_id, path=request.url.path)
    return body | {"model": request.state.model}


def _event(name: str, content: Mapping[str, Any]) -> str:
    return f"event: {name}\ndata: {json.dumps(content)}\n\n"


def _counted(request: Request, runtime: Runtime, report: Mapping[str, Any]) -> Mapping[str, Any]:
    _record(request).answered(report)
    runtime.metrics.verdicts.labels(verdict=report["verdict"]).inc()
    runtime.metrics.gradients.inc(report["budget"]["gradient_evaluations"])
    return report
