"""Threads for classifications: those that wait at the same time are one batch; one alone waits for nobody."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from serving.classifying.batch import (
    MOST_IMAGES,
    MOST_JOBS,
    Classification,
    Floats,
    T,
    Waiting,
    decoded,
    finish,
)
from serving.models.model import Model

_Waiting: TypeAlias = Waiting[Future[Any]]

GATHERING_S = 0.005
"""After so long nothing more is decoded for a batch that could be computed. One that is slow to decode never
joins a batch: it takes longer than any batch gains."""


@dataclass(slots=True, eq=False)
class _Batch:
    """Jobs that a thread has taken, all for one model; `taken` holds who waits for them, `decoded` what is to
    be computed.
    """

    first: _Waiting
    begun: float
    taken: list[_Waiting] = field(default_factory=list)
    decoded: list[tuple[_Waiting, Floats]] = field(default_factory=list)
    images: int = 0
    waits: bool = False
    """Its thread does nothing but wait for its turn to compute it."""

    @property
    def model(self) -> Model:
        """What computes it."""
        return self.first.job.model

    @property
    def has_room(self) -> bool:
        """Whether another job may join."""
        return len(self.taken) < MOST_JOBS and self.images < MOST_IMAGES


class BatchThreads:
    """Threads that take what waits, as far as it is quickly decoded, and compute it as one batch.

    While one thread has what is slow, the others prefer what is not, and so does that thread once it has
    done. Where there are several, one is always left for what is not: a slow one holds up nothing but the
    next slow one. Heavy ones take turns at being decoded. Who waits for a turn holds no thread, and can be
    cancelled. Else nobody overtakes.

    Where only so many batches are computed at once, the next one grows until it can be. One that begins with
    a slow job is computed beside them.

    Args:
        name: of the threads.
        threads: batches decoded or computed at the same time.
        at_once: how many batches of this model and others like it are computed at the same time; None: as
            many as there are threads.
        on_batch: told the number of jobs of each batch.
        on_wait: told how long each job has waited, in seconds.
    """

    def __init__(
        self,
        name: str,
        *,
        threads: int,
        at_once: Callable[[Model], int | None] = lambda _: None,
        on_batch: Callable[[int], None] = lambda _: None,
        on_wait: Callable[[float], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._count = threads
        self._at_once = at_once
        self._on_batch = on_batch
        self._on_wait = on_wait
        self._clock = clock
        self._threads: list[threading.Thread] = []
        self._waiting: deque[_Waiting] = deque()
        self._slow = self._heavy = self._computing = 0
        # Those that cannot be computed yet, in the order in which they will be.
        self._queue: list[_Batch] = []
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
            # One thread takes it, but not every one may.
            self._changed.notify_all()
        # Told the future alone: one that led to its job would keep the upload until Python looks for garbage.
        future.add_done_callback(self._forget)
        return future

    def close(self) -> None:
        """Lets running batches finish and drops waiting jobs."""
        with self._changed:
            self._closed = True
            waiting = list(self._waiting)
            self._changed.notify_all()
        for one in waiting:
            one.future.cancel()

    def _forget(self, done: Future[Any]) -> None:
        """Drops the job of a future that was cancelled."""
        if not done.cancelled():
            return
        with self._changed:
            # A thread may have taken it meanwhile.
            for one in self._waiting:
                if one.future is done:
                    self._waiting.remove(one)
                    return

    def _start(self) -> None:
        thread = threading.Thread(target=self._run, name=f"{self._name}_{len(self._threads)}", daemon=True)
        thread.start()
        self._threads.append(thread)

    def _run(self) -> None:
        after_slow: bool | None = False
        while after_slow is not None:
            after_slow = self._compute_next(after_slow)

    def _compute_next(self, after_slow: bool) -> bool | None:
        """Whether what this thread has computed was slow; None once closed."""
        # A function of its own, so that a thread that waits holds neither images nor a model.
        batch = self._begun(after_slow)
        if batch is None:
            return None
        try:
            self._compute(batch)
        # This thread has to live: what it cannot do for one batch, it may be able to do for the next.
        except Exception as error:
            for one in batch.taken:
                if not one.future.done():
                    one.future.set_exception(error)
        finally:
            with self._changed:
                self._leave_queue(batch)
            # Not earlier: many images in one job take long to compute, too.
            self._count_in(slow=-batch.first.job.slow)
        return batch.first.job.slow

    def _compute(self, batch: _Batch) -> None:
        following: _Waiting | None = batch.first
        while following is not None:
            batch.taken.append(following)
            try:
                self._on_wait(self._clock() - following.since)
                images = decoded(following)
            finally:
                self._count_in(heavy=-following.job.heavy)
            if images is not None:
                batch.decoded.append((following, images))
                batch.images += len(images)
            following = self._following(batch)
        try:
            if batch.decoded:
                self._on_batch(len(batch.decoded))
                finish(batch.decoded)
        finally:
            self._end_turn(batch)

    def _begun(self, after_slow: bool) -> _Batch | None:
        """A batch with the next job, once there is one whose turn it is; None once closed."""
        with self._changed:
            while not self._closed:
                one = self._oldest(quick=True) if after_slow or self._slow else None
                one = one or self._oldest()
                if one is None:
                    self._changed.wait()
                elif self._taken(one):
                    batch = _Batch(one, self._clock())
                    if not self._has_turn(batch):
                        self._queue.append(batch)
                    return batch
            return None

    def _following(self, batch: _Batch) -> _Waiting | None:
        """The next job for a batch; None once it is to be computed, until `_end_turn`."""
        with self._changed:
            if not batch.has_room and batch in self._queue:
                # What would have joined it is anybody's.
                self._changed.notify_all()
            while True:
                turn = self._has_turn(batch)
                ready = turn and self._clock() - batch.begun >= GATHERING_S
                if batch.has_room and not ready:
                    one = next((one for one in self._waiting if not one.job.slow), None)
                    if one is not None and one.job.model is batch.model:
                        if self._taken(one):
                            return one
                        continue
                if turn:
                    self._leave_queue(batch)
                    self._computing += self._takes_turns(batch)
                    return None
                if batch not in self._queue:
                    self._queue.append(batch)
                batch.waits = True
                self._changed.wait()
                batch.waits = False

    def _has_turn(self, batch: _Batch) -> bool:
        """Whether a batch can be computed now: nobody overtakes one that waits for nothing else."""
        most = self._at_once(batch.model)
        if batch.first.job.slow or most is None:
            return True
        before = self._queue[: self._queue.index(batch)] if batch in self._queue else self._queue
        return self._computing + sum(one.waits for one in before) < most

    def _leave_queue(self, batch: _Batch) -> None:
        if batch in self._queue:
            self._queue.remove(batch)
            self._changed.notify_all()

    def _end_turn(self, batch: _Batch) -> None:
        if self._takes_turns(batch):
            with self._changed:
                self._computing -= 1
                self._changed.notify_all()

    def _takes_turns(self, batch: _Batch) -> bool:
        return not batch.first.job.slow and self._at_once(batch.model) is not None

    def _oldest(self, *, quick: bool = False) -> _Waiting | None:
        """The first job whose turn it is, of all or of those that are not slow."""
        ready = (one for one in self._waiting if self._has_its_turn(one.job))
        return next((one for one in ready if not (quick and one.job.slow)), None)

    def _has_its_turn(self, job: Classification[Any]) -> bool:
        if not job.slow and any(self._grows(batch, job.model) for batch in self._queue):
            return False
        if job.slow and self._slow >= max(1, self._count - 1):
            return False
        return not (job.heavy and self._heavy)

    def _grows(self, batch: _Batch, model: Model) -> bool:
        """Whether a batch takes the next job of a model, at the latest when it could be computed itself."""
        return batch.model is model and batch.has_room and (batch.waits or not self._has_turn(batch))

    def _taken(self, one: _Waiting) -> bool:
        """Takes a job from those that wait; False if it has been cancelled."""
        self._waiting.remove(one)
        if not one.future.set_running_or_notify_cancel():
            return False
        self._count_in(slow=+one.job.slow, heavy=+one.job.heavy)
        return True

    def _count_in(self, *, slow: int = 0, heavy: int = 0) -> None:
        if slow or heavy:
            with self._changed:
                self._slow += slow
                self._heavy += heavy
                self._changed.notify_all()
