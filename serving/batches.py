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
GATHERING_S = 0.005
"""After so long nothing more is decoded for a batch. A large image takes longer than any batch gains: it need
not wait for the next one, nor those behind it for its answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Classification(Generic[T]):
    """One request's share of a batch.

    Attributes:
        model: what computes; a batch has one model.
        images: decodes the upload, to float32[n, 3, H, W] for any n of 1 or more.
        answer: makes the answer from the logits float32[n, K] of these images.
        late: whether the answer would come too late.
    """

    model: Model
    images: Callable[[], Floats]
    answer: Callable[[Floats], T]
    late: Callable[[], bool] = lambda: False


def compute(model: Model, batch: Sequence[tuple[Classification[Any], Floats]]) -> list[Any]:
    """The answer to each job and its images, or the exception that it ended with; all are for one model."""
    images = [images for _, images in batch]
    try:
        logits = model.engine.logits(images[0] if len(images) == 1 else np.concatenate(images))
    except EngineError as error:
        failed = Problem(
            "engine_failed", "the engine did not answer: try again", headers={"Retry-After": "1"}
        )
        failed.__cause__ = error
        return [failed] * len(batch)
    # A mistake, or no memory: the requests of this batch hear of it, and the next batch is computed.
    except Exception as error:
        return [error] * len(batch)
    ends = np.cumsum([len(one) for one in images])
    return [_answer(job, logits[end - len(one) : end]) for (job, one), end in zip(batch, ends, strict=True)]


def _answer(job: Classification[T], logits: Floats) -> T | Exception:
    try:
        if not np.isfinite(logits).all():
            raise Problem(
                "engine_failed", "the engine answered with numbers that are not finite: tell the operator"
            )
        return job.answer(logits)
    # Whatever it is belongs to this request alone.
    except Exception as error:
        return error


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    job: Classification[Any]
    future: Future[Any]
    since: float


class BatchThreads:
    """Threads that take what waits, as far as it is quickly decoded, and compute it as one batch.

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
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._count = threads
        self._on_batch = on_batch
        self._on_wait = on_wait
        self._clock = clock
        self._threads: list[threading.Thread] = []
        self._waiting: deque[_Waiting] = deque()
        self._changed = threading.Condition()
        self._closed = False

    def submit(self, job: Classification[T]) -> Future[T]:
        """Queues a job. One that is cancelled before it is decoded is dropped, and what it holds with it.

        Raises:
            RuntimeError: the threads were closed, or none can be started.
        """
        future: Future[T] = Future()
        one = _Waiting(job, future, self._clock())
        with self._changed:
            if self._closed:
                raise RuntimeError("these threads take no jobs any more")
            # Not earlier: a process that only starts workers never needs them.
            if len(self._threads) < self._count:
                self._start()
            self._waiting.append(one)
            self._changed.notify()
        future.add_done_callback(lambda done: self._forget(one) if done.cancelled() else None)
        return future

    def close(self) -> None:
        """Lets running batches finish and drops waiting jobs."""
        with self._changed:
            self._closed = True
            waiting = list(self._waiting)
            self._changed.notify_all()
        for one in waiting:
            one.future.cancel()

    def _forget(self, one: _Waiting) -> None:
        with self._changed:
            # A thread may have taken it meanwhile.
            if one in self._waiting:
                self._waiting.remove(one)

    def _start(self) -> None:
        thread = threading.Thread(target=self._run, name=f"{self._name}_{len(self._threads)}", daemon=True)
        thread.start()
        self._threads.append(thread)

    def _run(self) -> None:
        while self._compute_next():
            pass

    def _compute_next(self) -> bool:
        # A function of its own, so that a thread that waits holds neither images nor a model.
        first = self._first()
        if first is None:
            return False
        taken: list[_Waiting] = []
        try:
            self._compute(first, taken)
        # This thread has to live: what it cannot do for one batch, it may be able to do for the next.
        except Exception as error:
            for one in taken:
                if not one.future.done():
                    one.future.set_exception(error)
        return True

    def _compute(self, first: _Waiting, taken: list[_Waiting]) -> None:
        """Computes a batch that begins with `first`; `taken` holds from then on whoever waits for it."""
        model, begun = first.job.model, self._clock()
        batch: list[tuple[_Waiting, Floats]] = []
        following: _Waiting | None = first
        while following is not None:
            taken.append(following)
            self._on_wait(self._clock() - following.since)
            images = _decoded(following)
            if images is not None:
                batch.append((following, images))
            more = len(taken) < MOST_JOBS and self._clock() - begun < GATHERING_S
            following = self._next(model) if more else None
        if not batch:
            return
        self._on_batch(len(batch))
        outcomes = compute(model, [(one.job, images) for one, images in batch])
        for (one, _), outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, BaseException):
                one.future.set_exception(outcome)
            else:
                one.future.set_result(outcome)

    def _first(self) -> _Waiting | None:
        """The next job, once there is one; None once closed."""
        with self._changed:
            while not self._closed:
                if self._waiting:
                    one = self._waiting.popleft()
                    if one.future.set_running_or_notify_cancel():
                        return one
                else:
                    self._changed.wait()
            return None

    def _next(self, model: Model) -> _Waiting | None:
        """The next job, if it waits already and is for this model: nobody overtakes."""
        with self._changed:
            while self._waiting and self._waiting[0].job.model is model:
                one = self._waiting.popleft()
                if one.future.set_running_or_notify_cancel():
                    return one
            return None


def _decoded(one: _Waiting) -> Floats | None:
    """The images of a job; None once it has ended with an error."""
    try:
        images = one.job.images()
        if one.job.late():
            raise deadline_exceeded("the images were not classified before the deadline")
        return images
    except Exception as error:
        one.future.set_exception(error)
        return None
