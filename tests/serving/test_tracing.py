"""Spans of requests, and the trace id in the log."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from serving.observing.tracing import Tracing, load_tracing, trace_id
from serving.settings import Settings
from tests.serving import pictures
from tests.serving.in_process import asking, started

IMAGE = pictures.plain()
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"


def _spans(settings: Settings, asked: Sequence[tuple[str, bytes]]) -> dict[str, ReadableSpan]:
    """The spans that these requests leave, by name."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))

    async def scenario() -> None:
        async with started(settings) as (front, runtime), asking(front) as client:
            assert runtime.tracing is None
            runtime.tracing = Tracing(provider)
            await client.get("/readyz")
            for path, body in asked:
                await client.post(path, content=body, headers={"traceparent": TRACEPARENT})

    asyncio.run(scenario())
    return {span.name: span for span in exporter.get_finished_spans()}


def test_a_classification_has_a_span_with_its_stages(models_dir: Path) -> None:
    spans = _spans(Settings(models_dir=models_dir, probe=False), [("/classify", IMAGE)])

    assert set(spans) == {"classify", "queue", "decode", "compute"}
    whole = spans.pop("classify")
    assert whole.kind is SpanKind.SERVER
    assert whole.parent is not None and whole.context is not None
    assert (format(whole.parent.span_id, "016x"), format(whole.context.trace_id, "032x")) == (PARENT, TRACE)
    assert dict(whole.attributes or {}) == {
        "http.request.method": "POST",
        "url.path": "/classify",
        "http.route": "classify",
        "http.response.status_code": 200,
    }
    assert all(span.parent == whole.context for span in spans.values())
    times = [time for name in spans for time in (spans[name].start_time, spans[name].end_time)]
    assert times == sorted(times, key=lambda time: time or 0)


def test_an_image_that_cannot_be_decoded_was_not_computed(models_dir: Path) -> None:
    spans = _spans(Settings(models_dir=models_dir, probe=False), [("/classify", b"no image")])

    assert set(spans) == {"classify", "queue", "decode"}
    assert (spans["classify"].attributes or {})["http.response.status_code"] == 415
    assert spans["classify"].status.status_code is StatusCode.UNSET


def test_a_probe_has_a_span_with_its_stages(models_dir: Path) -> None:
    spans = _spans(Settings(models_dir=models_dir), [("/probe?eps=1/255&deadline_ms=30000", IMAGE)])

    assert set(spans) == {"probe", "queue", "compute"}


def test_a_failure_of_the_server_is_an_error(models_dir: Path) -> None:
    spans = _spans(Settings(models_dir=models_dir, default_model="missing"), [("/classify", IMAGE)])

    assert spans["classify"].status.status_code is StatusCode.ERROR


@pytest.mark.parametrize(
    ("variables", "traced"),
    [
        ({}, False),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}, False),
        ({"OTEL_TRACES_EXPORTER": "console", "OTEL_SDK_DISABLED": "true"}, False),
        ({"OTEL_TRACES_EXPORTER": "console"}, True),
    ],
)
def test_requests_are_traced_where_the_standard_variables_say_so(
    variables: Mapping[str, str], traced: bool, caplog: pytest.LogCaptureFixture
) -> None:
    tracing = load_tracing(variables)

    assert (tracing is not None) == traced
    assert caplog.records == []
    if tracing is not None:
        tracing.close()


@pytest.mark.parametrize(
    ("variables", "package"),
    [
        ({"OTEL_TRACES_EXPORTER": "nowhere"}, "nowhere"),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_EXPORTER_OTLP_PROTOCOL": "odd"},
            "opentelemetry-exporter-odd",
        ),
    ],
)
def test_an_exporter_that_is_missing_is_named(
    variables: Mapping[str, str],
    package: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(logging.getLogger("clead"), "propagate", True)
    assert load_tracing(variables) is None
    assert package in caplog.text


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (TRACEPARENT, TRACE),
        (f"01-{TRACE}-{PARENT}-01-more", TRACE),
        (f"ff-{TRACE}-{PARENT}-01", None),
        (f"00-{'0' * 32}-{PARENT}-01", None),
        ("nonsense", None),
    ],
)
def test_the_trace_id_is_that_of_the_header(header: str, found: str | None) -> None:
    scope = {"state": {}, "headers": [(b"traceparent", header.encode())]}

    assert trace_id(scope) == found


def test_the_log_line_has_the_trace_id(models_dir: Path) -> None:
    records: list[logging.LogRecord] = []

    class Keeping(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    async def scenario() -> None:
        async with (
            started(Settings(models_dir=models_dir, probe=False)) as (front, _),
            asking(front) as client,
        ):
            await client.get("/models", headers={"traceparent": TRACEPARENT})

    logger, handler = logging.getLogger("clead"), Keeping()
    logger.addHandler(handler)
    try:
        asyncio.run(scenario())
    finally:
        logger.removeHandler(handler)
    (line,) = [record for record in records if record.getMessage() == "request"]
    assert line.__dict__["fields"]["trace_id"] == TRACE
