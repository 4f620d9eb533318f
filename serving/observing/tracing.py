"""OpenTelemetry spans of requests: a server span each, with children for waiting, decoding and computing.

Off, and without cost, unless the standard variables OTEL_* say where spans go. Only this server's own spans
are made, in a provider of their own: BentoML's tracing stays off.
"""

from __future__ import annotations

import dataclasses
import logging
import re
import time
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, TypeVar

from starlette.types import Scope

from serving.classifying.batch import Classification, Floats
from serving.observing.request_log import LOGGER
from serving.problems import shown

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Span

T = TypeVar("T")
SERVICE_NAME = "clead-serve"
ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_OTLP = {"http/protobuf": "otlp_proto_http", "grpc": "otlp_proto_grpc"}
_PROPAGATED = ("traceparent", "tracestate")
# Source: W3C Trace Context, the header traceparent. An id of zeros is none.
_TRACEPARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?"
)
_STATE = "trace"


class Tracing:
    """Makes the spans of one worker and hands them to a provider."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("clead")

    def begin(self, scope: Scope) -> None:
        """Begins the span of a request, below the one that its header `traceparent` names."""
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        carrier = {name: value for name in _PROPAGATED if (value := _header(scope, name))}
        span = self._tracer.start_span(
            scope["method"],
            context=TraceContextTextMapPropagator().extract(carrier),
            kind=SpanKind.SERVER,
            attributes={"http.request.method": scope["method"], "url.path": shown(scope["path"])},
        )
        scope["state"][_STATE] = Trace(self, span)

    def child(self, parent: Span, name: str, begun_ns: int, ended_ns: int) -> None:
        """A span below `parent` that has already ended; times since the epoch."""
        from opentelemetry.trace import set_span_in_context

        span = self._tracer.start_span(name, context=set_span_in_context(parent), start_time=begun_ns)
        span.end(end_time=ended_ns)

    def close(self) -> None:
        """Hands over what has not been yet."""
        self._provider.shutdown()


@dataclasses.dataclass(frozen=True, slots=True)
class Trace:
    """The span of one request. For any thread."""

    tracing: Tracing
    span: Span

    def end(self, *, route: str, status: int) -> None:
        """Ends it; an answer of 500 or more is an error."""
        from opentelemetry.trace import StatusCode

        self.span.update_name(route)
        self.span.set_attributes({"http.route": route, "http.response.status_code": status})
        if status >= 500:
            self.span.set_status(StatusCode.ERROR)
        self.span.end()

    def classification(self, job: Classification[T]) -> Classification[T]:
        """The job, which leaves the children `queue`, `decode` and `compute`."""
        mark = time.time_ns()

        def ended(name: str) -> None:
            nonlocal mark
            begun, mark = mark, time.time_ns()
            self.tracing.child(self.span, name, begun, mark)

        def images() -> Floats:
            ended("queue")
            try:
                return job.images()
            finally:
                ended("decode")

        def answer(logits: Floats) -> T:
            ended("compute")
            return job.answer(logits)

        return dataclasses.replace(job, images=images, answer=answer)

    def call(self, work: Callable[[], T]) -> Callable[[], T]:
        """The work, which leaves the children `queue` and `compute`."""
        queued = time.time_ns()

        def run() -> T:
            begun = time.time_ns()
            self.tracing.child(self.span, "queue", queued, begun)
            try:
                return work()
            finally:
                self.tracing.child(self.span, "compute", begun, time.time_ns())

        return run


def trace_of(scope: Scope) -> Trace | None:
    """The trace of a request; None where requests are not traced."""
    trace: Trace | None = scope["state"].get(_STATE)
    return trace


def trace_id(scope: Scope) -> str | None:
    """32 hexadecimal digits: of the request's span, or else those that its header `traceparent` gives."""
    if (trace := trace_of(scope)) is not None:
        return format(trace.span.get_span_context().trace_id, "032x")
    given = _header(scope, "traceparent")
    known = _TRACEPARENT.fullmatch(given) if given else None
    return known[1] if known else None


def load_tracing(environment: Mapping[str, str]) -> Tracing | None:
    """What OTEL_TRACES_EXPORTER, or an OTLP endpoint, asks for; None when nothing does, or when it cannot be
    had, which is logged.
    """
    name = environment.get("OTEL_TRACES_EXPORTER") or (
        "otlp" if any(environment.get(endpoint) for endpoint in ENDPOINTS) else "none"
    )
    if name == "none" or environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    try:
        return _tracing(_exporter(name, environment), environment)
    # Whatever an exporter raises: requests are answered without spans.
    except Exception as error:
        logging.getLogger(LOGGER).warning("requests are not traced: %s", error)
        return None


def _tracing(exporter: SpanExporter, environment: Mapping[str, str]) -> Tracing:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    named = environment.get("OTEL_SERVICE_NAME") or "service.name=" in environment.get(
        "OTEL_RESOURCE_ATTRIBUTES", ""
    )
    resource = Resource.create({} if named else {"service.name": SERVICE_NAME})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return Tracing(provider)


def _exporter(name: str, environment: Mapping[str, str]) -> SpanExporter:
    protocol = next((environment[name] for name in PROTOCOLS if environment.get(name)), "http/protobuf")
    entry = _OTLP.get(protocol, protocol) if name == "otlp" else name
    for found in entry_points(group="opentelemetry_traces_exporter", name=entry):
        exporter: Any = found.load()
        made: SpanExporter = exporter()
        return made
    package = f"opentelemetry-exporter-{entry.replace('_', '-')}"
    raise LookupError(f"there is no exporter {entry!r}: install {package}, or set OTEL_TRACES_EXPORTER=none")


def _header(scope: Scope, name: str) -> str:
    """The header, or nothing where it is missing."""
    wanted = name.encode()
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == wanted), "")
