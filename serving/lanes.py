"""A lane: a few threads, a bounded queue in front of them, and an honest refusal when both are full."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self, TypeVar

from serving.problems import Problem, deadline_exceeded

T = TypeVar("T")
_SMOOTHING = 0.2


class Lane:
    """Runs work of one kind in threads of its own. Used from one event loop.

    Args:
        name: what the lane is for; names threads and metrics.
        slots: jobs computed at the same time.
        queue: further jobs that may be admitted and wait.
        on_refusal: called whenever a job is refused.
        on_change: called with the number of places taken whenever it changes.
    """

    def __init__(
        self,
        name: str,
        *,
        slots: int,
        queue: int,
        on_refusal: Callable[[], None] = lambda: None,
        on_change: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.name = name
        self.slots = slots
        self.capacity = slots + queue
        self.admitted = 0
        self._on_refusal = on_refusal
        self._on_change = on_change
        self._seconds_per_job = 0.1
        self._threads = ThreadPoolExecutor(slots, thread_name_prefix=f"clead-{name}")

    def admit(self) -> Place:
        """Takes a place in the lane, to be used as a context manager.

        Raises:
            Problem: overloaded, with Retry-After, when all places are taken.
        """
        if self.admitted >= self.capacity:
            self._on_refusal()
            wait = max(1, math.ceil(self.admitted / self.slots * self._seconds_per_job))
            raise Problem(
                "overloaded",
                f"all {self.capacity} places for {self.name} requests are taken: try again in {wait} s",
                headers={"Retry-After": str(wait)},
            )
        return Place(self)

    def close(self) -> None:
        """Lets running jobs finish and drops waiting ones."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def count(self, change: int) -> None:
        """Takes (+1) or frees (-1) a place; for `Place`."""
        self.admitted += change
        self._on_change(self.admitted)

    def submit(self, job: Callable[[], T]) -> Future[T]:
        """Hands `job` to the threads; for `Place`, which counts it."""
        return self._threads.submit(self._timed, job)

    def _timed(self, job: Callable[[], T]) -> T:
        begun = time.monotonic()
        try:
            return job()
        finally:
            self._seconds_per_job += _SMOOTHING * (time.monotonic() - begun - self._seconds_per_job)


class Place:
    """One admitted job. The place is free again when its holder has left and its work has really ended."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self._loop = asyncio.get_running_loop()
        self._held = 1
        lane.count(+1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._release()

    def keep(self) -> None:
        """Holds the place for one more `with` block: for answers still being sent after the handler ended."""
        self._held += 1

    async def run(self, job: Callable[[], T], *, deadline_s: float) -> T:
        """The result of `job`, computed in a thread of the lane.

        Raises:
            Problem: deadline_exceeded when it is not there in time; a job that has not begun is dropped.
        """
        future = self._lane.submit(job)
        self._held += 1
        future.add_done_callback(self._work_ended)
        try:
            async with asyncio.timeout(deadline_s):
                return await asyncio.wrap_future(future)
        except TimeoutError:
            raise deadline_exceeded("the answer was not ready before the deadline") from None

    def _work_ended(self, _: Future[T]) -> None:
        # A loop that has closed has no places left to count.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._release)

    def _release(self) -> None:
        self._held -= 1
        if self._held == 0:
            self._lane.count(-1)
