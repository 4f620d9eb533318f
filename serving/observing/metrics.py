"""Prometheus metrics: requests, lanes, models and probes, summed over all workers."""

from __future__ import annotations

import logging
import os
from collections.abc import Container, Iterable, Iterator
from pathlib import Path

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from serving.models.model import Model
from serving.observing.metric_values import keep_values_in
from serving.observing.request_log import LOGGER, configure_logging
from serving.shared_folder import shared_folder

CONTENT_TYPE = CONTENT_TYPE_LATEST
MULTIPROCESS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """The metrics of one worker. All workers write into one folder, which `exposition` sums."""

    def __init__(self) -> None:
        self._shown: set[Gauge] = set()
        self._answers: dict[tuple[str, int], tuple[Counter, Histogram]] = {}
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "clead_requests", "Answers by route and status.", ["route", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "clead_request_seconds", "Time to the end of the answer.", ["route"],
            buckets=SECONDS, registry=self.registry,
        )  # fmt: skip
        self.shed = Counter(
            "clead_shed", "Requests refused because there was no room for them.", ["lane", "reason"],
            registry=self.registry,
        )  # fmt: skip
        self.refused = Counter(
            "clead_refused", "Requests refused before their body was read, by problem.", ["code"],
            registry=self.registry,
        )  # fmt: skip
        self.log_lines_dropped = Counter(
            "clead_log_lines_dropped", "Log lines dropped, because standard error took none.",
            registry=self.registry,
        )  # fmt: skip
        self.keys_file_fault = Gauge(
            "clead_keys_file_fault", "1 while the keys file cannot be used: the earlier keys hold.",
            multiprocess_mode="livemax", registry=self.registry,
        )  # fmt: skip
        self.occupied = Gauge(
            "clead_lane_occupied", "Requests that hold a place in a lane.", ["lane"],
            multiprocess_mode="livesum", registry=self.registry,
        )  # fmt: skip
        self.waited = Histogram(
            "clead_lane_wait_seconds", "Time from a job's queueing to its beginning.", ["lane"],
            buckets=SECONDS, registry=self.registry,
        )  # fmt: skip
        self.batch_jobs = Histogram(
            "clead_batch_requests", "Classifications computed as one batch.",
            buckets=(1, 2, 4, 8, 16, 32), registry=self.registry,
        )  # fmt: skip
        self.images = Counter("clead_images", "Images classified.", registry=self.registry)
        self.probe_processes_ended = Counter(
            "clead_probe_processes_replaced", "Processes for probes that died or hung and were replaced.",
            registry=self.registry,
        )  # fmt: skip
        self.verdicts = Counter(
            "clead_probe_verdicts", "Probes by verdict.", ["verdict"], registry=self.registry
        )
        self.gradients = Counter(
            "clead_probe_gradient_evaluations", "Gradients computed for probes.", registry=self.registry
        )
        self.model = Gauge(
            "clead_model_info", "1 for each model in memory.",
            ["name", "version", "sha256"],
            multiprocess_mode="livemax", registry=self.registry,
        )  # fmt: skip
        self.engine = Gauge(
            "clead_engine_info", "1 for the engine that runs a model.",
            ["model", "engine", "provider", "device", "version", "unused_gpu"],
            multiprocess_mode="livemax", registry=self.registry,
        )  # fmt: skip
        self.refused_version = Gauge(
            "clead_model_refused", "1 for each version in the models folder that is not served.",
            ["model"], multiprocess_mode="livemax", registry=self.registry,
        )  # fmt: skip
        self.draining = Gauge(
            "clead_draining", "1 once the server is about to stop.",
            multiprocess_mode="livemax", registry=self.registry,
        )  # fmt: skip

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Counts an answer."""
        answers = self._answers.get((route, status))
        if answers is None:
            # Finding them by their labels takes as long as counting.
            answers = (
                self.requests.labels(route=route, status=str(status)),
                self.seconds.labels(route=route),
            )
            self._answers[route, status] = answers
        answers[0].inc()
        answers[1].observe(seconds)

    def show_models(self, loaded: Iterable[Model], *, refused: Iterable[str]) -> None:
        """Says which models are in memory and what runs them, and which `name/version` are refused."""
        shown = {self.refused_version.labels(model=ref) for ref in refused}
        for model in loaded:
            identity, info = model.identity, model.info
            shown.add(self.model.labels(**identity))
            shown.add(
                self.engine.labels(
                    model=f"{identity['name']}/{identity['version']}",
                    engine=info.engine,
                    provider=info.provider,
                    device=info.device,
                    version=info.version,
                    unused_gpu=str(info.unused_gpu).lower(),
                )
            )
        # A label cannot be removed where several processes write: `exposition` leaves these out.
        for gauge in self._shown - shown:
            gauge.set(0)
        for gauge in shown - self._shown:
            gauge.set(1)
        self._shown = shown

    def exposition(self) -> bytes:
        """The metrics of all workers in Prometheus' text format; of this one, where none has files."""
        collected = self.registry
        if any(_is_running(pid) for _, pid in _files("*_*.db")):
            collected = CollectorRegistry()
            MultiProcessCollector(collected)  # type: ignore[no-untyped-call]
        passing = (self.model, self.engine, self.refused_version)
        names = {family.name for gauge in passing for family in gauge.describe()}
        return generate_latest(_WithoutGone(collected, names))


class _WithoutGone(Collector):
    """What a registry collects, but without the series of these metrics that are 0: of what has gone."""

    def __init__(self, registry: CollectorRegistry, names: Container[str]) -> None:
        self._registry = registry
        self._names = names

    def collect(self) -> Iterator[Metric]:
        for family in self._registry.collect():
            if family.name in self._names:
                family.samples = [sample for sample in family.samples if sample.value]
            yield family


def keep_to_this_server() -> None:
    """Has this worker write its metrics where no other server does; call it before there are any.

    BentoML gives one folder to all servers of a user, and empties it whenever one of them starts.
    """
    if MULTIPROCESS_VARIABLE in os.environ and (folder := shared_folder()) is not None:
        own = folder / "metrics"
        os.environ[MULTIPROCESS_VARIABLE] = str(own)
        try:
            own.mkdir(exist_ok=True)
            keep_values_in(own)
        except OSError as error:
            configure_logging()
            logging.getLogger(LOGGER).warning(
                "this worker keeps its metrics to itself, there is no room for them until it starts anew: %s",
                error,
            )


def forget_dead_workers() -> None:
    """Removes the gauges of workers that ended without a goodbye, so that they are not counted any more."""
    for path, pid in _files("gauge_live*_*.db"):
        if not _is_running(pid):
            mark_process_dead(pid, path.parent)  # type: ignore[no-untyped-call]


def _files(pattern: str) -> Iterator[tuple[Path, str]]:
    """The files of the workers that match a pattern, with the ids of their processes."""
    folder = os.environ.get(MULTIPROCESS_VARIABLE)
    if folder is not None:
        for path in Path(folder).glob(pattern):
            pid = path.stem.rpartition("_")[2]
            if pid.isdigit():
                yield path, pid


def _is_running(pid: str) -> bool:
    return Path(f"/proc/{pid}").exists() or not Path("/proc/self").exists()
