"""A lane: a bounded number of places for work of one kind, and an honest refusal when all are taken."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Generic, Protocol, Self, TypeVar

from serving.problems import Problem, deadline_exceeded

T = TypeVar("T")
Job = TypeVar("Job", contravariant=True)
_SMOOTHING = 0.2
SHORT_QUEUE, SHORT_SLOW_QUEUE = 64, 16
"""So many jobs, and slow ones, are admitted whatever is known of the time they take: it may be that of larger
ones.
"""


class JobDropped(Exception):
    """Nobody wants the answer of a job any more that had not begun."""


class Workers(Protocol[Job]):
    """What computes the jobs of a lane, in threads of its own."""

    def submit(self, job: Job) -> Future[Any]:
        """Queues a job."""

    def close(self) -> None:
        """Lets running jobs finish and drops waiting ones."""


class JobThreads:
    """Threads that call one job after the other.

    Args:
        name: of the threads.
        on_wait: told how long each job has waited, in seconds.
    """

    def __init__(self, name: str, *, threads: int, on_wait: Callable[[float], None] = lambda _: None) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._on_wait = on_wait

    def submit(self, job: Callable[[], T]) -> Future[T]:
        """Queues a job."""
        since, waiting = time.monotonic(), [job]

        def run() -> T:
            self._on_wait(time.monotonic() - since)
            return waiting.pop()()

        future = self._threads.submit(run)
        # What is dropped stays in the queue until its turn comes, and shall not keep its image until then.
        future.add_done_callback(lambda _: waiting.clear())
        return future

    def close(self) -> None:
        """Lets running jobs finish and drops waiting ones."""
        self._threads.shutdown(wait=False, cancel_futures=True)


class _Queue:
    """Jobs that wait or are computed, and what is known of the time they take."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.jobs = 0
        self._clock = clock
        self._seconds_per_job: float | None = None

    def ahead_s(self) -> float:
        """How long one more would wait for those that are there."""
        return self.jobs * (self._seconds_per_job or 0.0)

    def begin(self) -> Callable[[bool], None]:
        """Counts a job from now on; what is returned is to be called at its end, with whether its time says
        something about those of others.
        """
        self.jobs += 1
        begun, before = self._clock(), self.jobs

        def ended(counts: bool) -> None:
            self.jobs -= 1
            if not counts:
                return
            # However many are computed at once: those that came before this one took as long as it has.
            seconds, known = (self._clock() - begun) / before, self._seconds_per_job
            self._seconds_per_job = seconds if known is None else known + _SMOOTHING * (seconds - known)

        return ended


class Lane(Generic[Job]):
    """Counts places, and hands jobs to its workers. Used from one event loop.

    Slow jobs, which the workers compute beside the others, have a queue and an estimate of their own, and at
    most half of the places: however many there are, the others find room.

    Args:
        name: what the lane is for; names metrics.
        workers: what computes.
        places: jobs that may be admitted at the same time, those that are computed and those that wait.
        longest_wait_s: behind SHORT_QUEUE others, a job that would wait longer is refused as well, by what
            the latest ones have taken; a slow one behind SHORT_SLOW_QUEUE others that are slow.
        longest_retry_s: nobody is told to come back later: the deadlines have emptied the lane by then.
        refused: called with the reason, `full`, `wait` or `slow`, whenever a job is refused.
        on_change: called with the number of places taken whenever it changes.
        clock: seconds.
    """

    def __init__(
        self,
        name: str,
        workers: Workers[Job],
        *,
        places: int,
        longest_wait_s: float = math.inf,
        longest_retry_s: float = math.inf,
        refused: Callable[[str], None] = lambda _: None,
        on_change: Callable[[int], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.capacity = places
        self.admitted = 0
        self.closed_because: str | None = None
        """Why no request is let in any more; None while they are."""
        self.refused = refused
        """To be called with the reason by whoever else refuses a request for this lane."""
        self._workers = workers
        self._longest_wait_s = longest_wait_s
        self._longest_retry_s = longest_retry_s
        self._on_change = on_change
        self._quick, self._slow = _Queue(clock), _Queue(clock)
        self._most_slow = max(1, places // 2)

    def admit(self) -> Place[Job]:
        """Takes a place in the lane, to be used as a context manager, for a job that is there: a closed lane
        still takes those of the requests that it has let in.

        Raises:
            Problem: overloaded, as `check_room`.
        """
        self._check_places()
        return Place(self)

    def check_room(self) -> None:
        """Whether a request may be let in: whether a job of its would be admitted now.

        Raises:
            Problem: overloaded, with Retry-After, when all places are taken or the wait would be too long;
                not_ready when closed.
        """
        if self.closed_because is not None:
            raise Problem("not_ready", self.closed_because, headers={"Retry-After": "1"})
        self._check_places()

    def _check_places(self) -> None:
        jobs, ahead_s = self._quick.jobs, self._quick.ahead_s()
        if self.admitted >= self.capacity:
            raise self._refusal(
                "full", f"all {self.capacity} places for {self.name} requests are taken", ahead_s
            )
        if jobs >= SHORT_QUEUE and ahead_s > self._longest_wait_s:
            waiting = f"{jobs} {self.name} requests wait, which takes over {self._longest_wait_s:g} s"
            raise self._refusal("wait", waiting, ahead_s)

    def _check_slow(self) -> None:
        jobs, ahead_s = self._slow.jobs, self._slow.ahead_s()
        if jobs >= self._most_slow or (jobs >= SHORT_SLOW_QUEUE and ahead_s > self._longest_wait_s):
            waiting = (
                f"{jobs} {self.name} requests with large images wait, and smaller ones are let past them"
            )
            raise self._refusal("slow", waiting, ahead_s)

    def _refusal(self, reason: str, detail: str, ahead_s: float) -> Problem:
        self.refused(reason)
        wait = max(1, math.ceil(min(ahead_s, self._longest_retry_s)))
        return Problem("overloaded", f"{detail}: try again in {wait} s", headers={"Retry-After": str(wait)})

    def close(self) -> None:
        """Lets running jobs finish and drops waiting ones."""
        self._workers.close()

    def count(self, change: int) -> None:
        """Takes (+1) or frees (-1) a place; for `Place`."""
        self.admitted += change
        self._on_change(self.admitted)

    def submit(self, job: Job, on_end: Callable[[], bool], *, slow: bool) -> Future[Any]:
        """Hands a job to the workers; for `Place`. `on_end`: called in the loop once it has really ended;
        says whether its time counts.

        Raises:
            Problem: overloaded, when too many slow ones wait.
        """
        loop = asyncio.get_running_loop()
        if slow:
            self._check_slow()
        future = self._workers.submit(job)
        ended = (self._slow if slow else self._quick).begin()

        def end() -> None:
            ended(on_end())

        def tell(_: Future[Any]) -> None:
            # A loop that has closed has no places left to count.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(end)

        future.add_done_callback(tell)
        return future

    def begin(self) -> Callable[[], None]:
        """Counts a job computed elsewhere from now on; what is returned is to be called at its end."""
        ended = self._quick.begin()
        return lambda: ended(True)


class Place(Generic[Job]):
    """One admitted job. The place is free again when its holder has left and its work has really ended."""

    def __init__(self, lane: Lane[Job]) -> None:
        self._lane = lane
        self._held = 1
        self._future: Future[Any] | None = None
        self._dropped = False
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

    async def run(self, job: Job, *, deadline_s: float, slow: bool = False) -> Any:
        """What the workers make of `job`.

        Args:
            slow: whether the workers let others past it.

        Raises:
            Problem: deadline_exceeded when it is not there in time; a job that has not begun is dropped.
                overloaded, with Retry-After, when it is slow and too many of them wait.
            JobDropped: by `drop`.
        """
        self._future = future = self._lane.submit(job, self._end, slow=slow)
        self._held += 1
        try:
            async with asyncio.timeout(deadline_s):
                return await asyncio.wrap_future(future)
        except TimeoutError:
            raise deadline_exceeded("the answer was not ready before the deadline") from None
        except asyncio.CancelledError:
            if self._dropped:
                raise JobDropped from None
            raise
        finally:
            self._future = None

    def drop(self) -> None:
        """Has `run` drop its job, unless it has begun: nobody waits for it any more."""
        if self._future is not None:
            self._dropped = self._future.cancel()

    def _end(self) -> bool:
        self._release()
        return not self._dropped

    def _release(self) -> None:
        self._held -= 1
        if self._held == 0:
            self._lane.count(-1)
