"""Threads for classifications: those that wait at the same time are one batch; one alone waits for nobody."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeAlias

from serving.classifying.batch import MOST_JOBS, Classification, Floats, T, Waiting, decoded, finish
from serving.models.model import Model

_Waiting: TypeAlias = Waiting[Future[Any]]

GATHERING_S = 0.005
"""After so long nothing more is decoded for a batch. A large image takes longer than any batch gains: it need
not wait for the next one, nor those behind it for its answer."""


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
        one = Waiting(job, future, self._clock())
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
            images = decoded(following)
            if images is not None:
                batch.append((following, images))
            more = len(taken) < MOST_JOBS and self._clock() - begun < GATHERING_S
            following = self._next(model) if more else None
        if not batch:
            return
        self._on_batch(len(batch))
        finish(batch)

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
