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
"""After so long nothing more is decoded for a batch that could be computed. One that is slow to decode never
joins a batch: it takes longer than any batch gains."""


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
        # By thread, of batches that cannot be computed yet, and have room.
        self._growing: dict[int, Model] = {}
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
        first = self._first(after_slow)
        if first is None:
            return None
        taken: list[_Waiting] = []
        try:
            self._compute(first, taken)
        # This thread has to live: what it cannot do for one batch, it may be able to do for the next.
        except Exception as error:
            for one in taken:
                if not one.future.done():
                    one.future.set_exception(error)
        finally:
            with self._changed:
                self._growing.pop(threading.get_ident(), None)
            # Not earlier: many images in one job take long to compute, too.
            self._count_in(slow=-first.job.slow)
        return first.job.slow

    def _compute(self, first: _Waiting, taken: list[_Waiting]) -> None:
        """Computes a batch that begins with `first`; `taken` holds from then on whoever waits for it."""
        begun = self._clock()
        batch: list[tuple[_Waiting, Floats]] = []
        following: _Waiting | None = first
        while following is not None:
            taken.append(following)
            try:
                self._on_wait(self._clock() - following.since)
                images = decoded(following)
            finally:
                self._count_in(heavy=-following.job.heavy)
            if images is not None:
                batch.append((following, images))
            following = self._following(first.job, begun, room=len(taken) < MOST_JOBS)
        try:
            if batch:
                self._on_batch(len(batch))
                finish(batch)
        finally:
            self._end_turn(first.job)

    def _first(self, after_slow: bool) -> _Waiting | None:
        """The next job, once there is one whose turn it is; None once closed."""
        with self._changed:
            while not self._closed:
                one = self._oldest(quick=True) if after_slow or self._slow else None
                one = one or self._oldest()
                if one is None:
                    self._changed.wait()
                elif self._taken(one):
                    self._has_turn(one.job, room=True)
                    return one
            return None

    def _following(self, first: Classification[Any], begun: float, *, room: bool) -> _Waiting | None:
        """The next job for a batch that begins with `first`; None once it is to be computed, until
        `_end_turn`.
        """
        with self._changed:
            while True:
                turn = self._has_turn(first, room=room)
                if room and not (turn and self._clock() - begun >= GATHERING_S):
                    one = next((one for one in self._waiting if not one.job.slow), None)
                    if one is not None and one.job.model is first.model:
                        if self._taken(one):
                            return one
                        continue
                if turn:
                    self._computing += self._takes_turns(first)
                    return None
                self._changed.wait()

    def _has_turn(self, first: Classification[Any], *, room: bool) -> bool:
        """Whether a batch that begins with `first` can be computed now; else it grows while it has room."""
        most = self._at_once(first.model)
        turn = first.slow or most is None or self._computing < most
        if room and not turn:
            self._growing[threading.get_ident()] = first.model
        else:
            self._growing.pop(threading.get_ident(), None)
        return turn

    def _end_turn(self, first: Classification[Any]) -> None:
        if self._takes_turns(first):
            with self._changed:
                self._computing -= 1
                self._changed.notify_all()

    def _takes_turns(self, first: Classification[Any]) -> bool:
        return not first.slow and self._at_once(first.model) is not None

    def _oldest(self, *, quick: bool = False) -> _Waiting | None:
        """The first job whose turn it is, of all or of those that are not slow."""
        ready = (one for one in self._waiting if self._has_its_turn(one.job))
        return next((one for one in ready if not (quick and one.job.slow)), None)

    def _has_its_turn(self, job: Classification[Any]) -> bool:
        # A batch that waits will have it.
        if not job.slow and any(model is job.model for model in self._growing.values()):
            return False
        if job.slow and self._slow >= max(1, self._count - 1):
            return False
        return not (job.heavy and self._heavy)

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
