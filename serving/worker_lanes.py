"""The lanes of one worker, as large as its settings say, and what they tell its metrics and its log."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

from serving.classifying.batch import Classification
from serving.classifying.batch_loop import BatchLoop
from serving.classifying.batch_threads import BatchThreads
from serving.lanes import Job, JobThreads, Lane, Workers
from serving.models.engine_start import batches_at_once
from serving.observing.later import Later
from serving.observing.metrics import Metrics
from serving.observing.refusal_log import RefusalLog
from serving.settings import Settings


class WorkerLanes:
    """The lanes of one worker, and `batch_loop`, in which what is quick is computed instead.

    Args:
        later: counts what happens in the event loop.
        probes: how many may run at the same time.
    """

    def __init__(self, settings: Settings, metrics: Metrics, *, later: Later, probes: int) -> None:
        self._settings = settings
        self._metrics = metrics
        self._later = later
        self._refusals: list[RefusalLog] = []
        self.batch_loop = BatchLoop(
            on_batch=partial(later, metrics.batch_jobs.observe),
            on_wait=partial(later, metrics.waited.labels(lane="classify").observe),
        )
        self.classify: Lane[Classification[Any]] = self._classify()
        self.probe: Lane[Callable[[], Any]] = self._probe(probes)

    def close(self) -> None:
        """Lets running jobs finish and drops waiting ones."""
        for lane in (self.classify, self.probe):
            lane.close()

    def say_refusals(self) -> None:
        """Says of how many refusals nothing has been said."""
        for refusals in self._refusals:
            refusals.say()

    def _classify(self) -> Lane[Classification[Any]]:
        settings, metrics = self._settings, self._metrics
        threads = settings.per_worker(settings.classify_concurrency, at_least=1)
        at_once = batches_at_once(settings)
        workers = BatchThreads(
            "clead-classify",
            threads=threads,
            at_once=lambda model: at_once if model.is_on_cpu else None,
            on_batch=metrics.batch_jobs.observe,
            on_wait=metrics.waited.labels(lane="classify").observe,
        )
        places = threads + settings.per_worker(settings.classify_queue, at_least=0)
        wait_ms, deadline_ms = settings.classify_wait_ms, settings.classify_deadline_ms
        return self._lane("classify", workers, places=places, wait_ms=wait_ms, deadline_ms=deadline_ms)

    def _probe(self, count: int) -> Lane[Callable[[], Any]]:
        settings, waited = self._settings, self._metrics.waited.labels(lane="probe")
        workers = JobThreads("clead-probe", threads=count, on_wait=waited.observe)
        places = count + settings.per_worker(settings.probe_queue, at_least=0)
        deadline_ms = settings.probe_max_deadline_ms
        return self._lane("probe", workers, places=places, wait_ms=math.inf, deadline_ms=deadline_ms)

    def _lane(
        self, name: str, workers: Workers[Job], *, places: int, wait_ms: float, deadline_ms: int
    ) -> Lane[Job]:
        refusals = RefusalLog(name, self._metrics.shed)
        self._refusals.append(refusals)
        return Lane(
            name,
            workers,
            places=places,
            longest_wait_s=wait_ms / 1000,
            longest_retry_s=deadline_ms / 1000,
            refused=refusals.refused,
            on_change=partial(self._later, self._metrics.occupied.labels(lane=name).set),
        )
