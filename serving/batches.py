"""Classifications that wait at the same time are computed as one batch; one alone waits for nobody."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from engines.engine import EngineError
from serving.models import Model
from serving.problems import Problem, deadline_exceeded

T = TypeVar("T")
Floats: TypeAlias = NDArray[np.float32]

MOST_JOBS = 32
MOST_BYTES = 256 * 1024
"""Of the uploads of one batch. A photograph takes longer to decode than any batch gains: it goes by itself,
so that nobody waits for it whom another thread could serve."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Classification(Generic[T]):
    """One request's share of a batch.

    Attributes:
        model: what computes; a batch has one model.
        bytes: size of the upload.
        images: decodes it, to float32[n, 3, H, W] for any n of 1 or more.
        answer: makes the answer from the logits float32[n, K] of these images.
        late: whether the answer would come too late.
    """

    model: Model
    bytes: int
    images: Callable[[], Floats]
    answer: Callable[[Floats], T]
    late: Callable[[], bool] = lambda: False


def compute(jobs: Sequence[Classification[Any]]) -> list[Any]:
    """The answer of each job, or the exception that it ended with; all are for one model."""
    outcomes: list[Any] = [_images(job) for job in jobs]
    whole = [images for images in outcomes if not isinstance(images, BaseException)]
    if not whole:
        return outcomes
    try:
        logits = jobs[0].model.engine.logits(whole[0] if len(whole) == 1 else np.concatenate(whole))
    except EngineError as error:
        failed = Problem(
            "engine_failed", "the engine did not answer: try again", headers={"Retry-After": "1"}
        )
        failed.__cause__ = error
        return [outcome if isinstance(outcome, BaseException) else failed for outcome in outcomes]
    row = 0
    for number, (job, images) in enumerate(zip(jobs, outcomes, strict=True)):
        if not isinstance(images, BaseException):
            outcomes[number] = _answer(job, logits[row : row + len(images)])
            row += len(images)
    return outcomes


def _images(job: Classification[Any]) -> Any:
    try:
        images = job.images()
        if job.late():
            raise deadline_exceeded("the images were not classified before the deadline")
        return images
    # Whatever it is belongs to this request alone: the others of the batch go on.
    except Exception as error:
        return error


def _answer(job: Classification[T], logits: Floats) -> T | Exception:
    try:
        if not np.isfinite(logits).all():
            raise Problem(
                "engine_failed", "the engine answered with numbers that are not finite: tell the operator"
            )
        return job.answer(logits)
    except Exception as error:
        return error


@dataclass(frozen=True, slots=True)
class _Waiting:
    job: Classification[Any]
    future: Future[Any]
    since: float


class BatchThreads:
    """Threads that take whatever waits, up to `MOST_JOBS` jobs and `MOST_BYTES`, and compute it as one batch.

    Args:
        name: of the threads.
        threads: batches computed at the same time.
        on_batch: told the number of jobs of each batch.
        on_wait: told how long each job has waited, in seconds.
    """

    def __init__(
        self,
        name: str,
        *,
        threads: int,
        on_batch: Callable[[int], None] = lambda _: None,
        on_wait: Callable[[float], None] = lambda _: None,
    ) -> None:
        self._name = name
        self._count = threads
        self._on_batch = on_batch
        self._on_wait = on_wait
        self._threads: list[threading.Thread] = []
        self._waiting: deque[_Waiting] = deque()
        self._changed = threading.Condition()
        self._closed = False

    def submit(self, job: Classification[T]) -> Future[T]:
        """Queues a job. One that is cancelled before its batch begins is left out.

        Raises:
            RuntimeError: the threads were closed.
        """
        future: Future[T] = Future()
        with self._changed:
            if self._closed:
                raise RuntimeError("these threads take no jobs any more")
            self._waiting.append(_Waiting(job, future, time.monotonic()))
            # Not earlier: a process that only starts workers never needs them.
            if len(self._threads) < self._count:
                self._start()
            self._changed.notify()
        return future

    def close(self) -> None:
        """Lets running batches finish and drops waiting jobs."""
        with self._changed:
            self._closed = True
            waiting, self._waiting = self._waiting, deque()
            self._changed.notify_all()
        for one in waiting:
            one.future.cancel()

    def _start(self) -> None:
        name = f"{self._name}_{len(self._threads)}"
        self._threads.append(threading.Thread(target=self._run, name=name, daemon=True))
        self._threads[-1].start()

    def _run(self) -> None:
        while batch := self._next():
            outcomes = compute([one.job for one in batch])
            for one, outcome in zip(batch, outcomes, strict=True):
                if isinstance(outcome, BaseException):
                    one.future.set_exception(outcome)
                else:
                    one.future.set_result(outcome)

    def _next(self) -> list[_Waiting]:
        """The next batch, in order of arrival; empty once closed."""
        batch: list[_Waiting] = []
        with self._changed:
            while not batch:
                while not self._waiting:
                    if self._closed:
                        return []
                    self._changed.wait()
                batch = [one for one in self._taken() if one.future.set_running_or_notify_cancel()]
        now = time.monotonic()
        self._on_batch(len(batch))
        for one in batch:
            self._on_wait(now - one.since)
        return batch

    def _taken(self) -> list[_Waiting]:
        taken = [self._waiting.popleft()]
        size = taken[0].job.bytes
        while self._waiting and len(taken) < MOST_JOBS:
            following = self._waiting[0].job
            size += following.bytes
            if following.model is not taken[0].job.model or size > MOST_BYTES:
                break
            taken.append(self._waiting.popleft())
        return taken
