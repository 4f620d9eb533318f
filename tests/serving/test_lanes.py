"""Lanes: bounded, honest, and empty again afterwards."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future

import pytest

from serving.lanes import SHORT_QUEUE, SHORT_SLOW_QUEUE, JobThreads, Lane
from serving.problems import Problem


def _run(test: Callable[[], object]) -> None:
    asyncio.run(test())  # type: ignore[arg-type]


async def _settle(lane: Lane, admitted: int) -> None:
    async with asyncio.timeout(10):
        while lane.admitted != admitted:
            await asyncio.sleep(0.001)


def test_results_and_errors_come_back_and_places_are_freed() -> None:
    async def scenario() -> None:
        lane = Lane("test", JobThreads("test", threads=1), places=1)
        with lane.admit() as place:
            assert await place.run(lambda: 7, deadline_s=10) == 7
        with pytest.raises(KeyError), lane.admit() as place:
            await place.run(lambda: {}["missing"], deadline_s=10)
        await _settle(lane, 0)
        lane.close()

    _run(scenario)


def test_a_full_lane_refuses_and_says_when_to_come_back() -> None:
    async def scenario() -> None:
        refusals: list[str] = []
        lane = Lane("test", JobThreads("test", threads=1), places=2, refused=refusals.append)
        with lane.admit(), lane.admit():
            with pytest.raises(Problem) as caught:
                lane.admit()
            assert caught.value.code == "overloaded"
            assert int(caught.value.headers["Retry-After"]) >= 1
        assert refusals == ["full"]
        assert lane.admitted == 0
        lane.close()

    _run(scenario)


def test_who_would_wait_too_long_is_refused_although_there_are_places() -> None:
    now = 0.0
    refusals: list[str] = []
    lane = Lane(
        "test",
        JobThreads("test", threads=1),
        places=200,
        longest_wait_s=0.1,
        refused=refusals.append,
        clock=lambda: now,
    )
    # Nothing is known of the first ones, but a place.
    first = [(lane.admit(), lane.begin()) for _ in range(SHORT_QUEUE + 20)]
    for place, ended in first:
        now += 0.01
        ended()
        with place:
            pass
    assert lane.admitted == 0

    waiting = [(lane.admit(), lane.begin()) for _ in range(SHORT_QUEUE)]
    with pytest.raises(Problem) as caught:
        lane.admit()
    assert caught.value.code == "overloaded"
    assert (
        caught.value.detail == f"{SHORT_QUEUE} test requests wait, which takes over 0.1 s: try again in 1 s"
    )
    assert refusals == ["wait"]
    # What is over in a moment may be waited for behind many.
    for _ in range(100):
        lane.begin()()
    with lane.admit():
        assert lane.admitted == len(waiting) + 1
    lane.close()


class _Workers:
    """Workers whose jobs are futures that a test ends."""

    def submit(self, job: Future[object]) -> Future[object]:
        """The job itself."""
        return job

    def close(self) -> None:
        """Nothing runs."""


def test_slow_jobs_leave_half_of_the_places_and_say_nothing_about_the_time_of_others() -> None:
    async def scenario() -> None:
        now = 0.0
        refusals: list[str] = []
        lane = Lane(
            "test", _Workers(), places=200, longest_wait_s=1.0, refused=refusals.append, clock=lambda: now
        )

        async def run(job: Future[object]) -> None:
            with lane.admit() as place:
                await place.run(job, deadline_s=20, slow=True)

        async def refused(*, by: int) -> None:
            with pytest.raises(Problem) as caught:
                await run(Future())
            assert (caught.value.code, caught.value.headers["Retry-After"]) == ("overloaded", str(by))
            assert refusals.pop() == "slow"

        # Nothing is known of the first ones.
        jobs: list[Future[object]] = [Future() for _ in range(lane.capacity // 2)]
        tasks = [asyncio.create_task(run(job)) for job in jobs]
        await _settle(lane, len(jobs))
        await refused(by=1)
        for job in jobs:
            now += 0.1
            job.set_result(None)
            await asyncio.sleep(0)
        await asyncio.gather(*tasks)
        await _settle(lane, 0)
        jobs = [Future() for _ in range(SHORT_SLOW_QUEUE)]
        tasks = [asyncio.create_task(run(job)) for job in jobs]
        await _settle(lane, len(jobs))
        await refused(by=2)
        quick = [lane.begin() for _ in range(SHORT_QUEUE)]
        lane.check_room()
        for ended in quick:
            ended()
        for job in jobs:
            job.set_result(None)
        await asyncio.gather(*tasks)
        assert not refusals

    _run(scenario)


def _retry_after(lane: Lane) -> int:
    with pytest.raises(Problem) as caught:
        lane.admit()
    assert caught.value.code == "overloaded"
    return int(caught.value.headers["Retry-After"])


def test_who_is_refused_is_told_how_long_what_is_computed_takes_and_never_more_than_a_deadline() -> None:
    now = 0.0
    lane = Lane("test", JobThreads("test", threads=1), places=4, longest_retry_s=10.0, clock=lambda: now)
    ended = lane.begin()
    now = 3.0
    ended()
    places = [lane.admit() for _ in range(4)]
    # Places whose jobs do not compute or wait yet say nothing about the time.
    assert _retry_after(lane) == 1
    ends = [lane.begin() for _ in range(2)]
    assert _retry_after(lane) == 6
    ends += [lane.begin() for _ in range(2)]
    assert _retry_after(lane) == 10
    for place, end in zip(places, ends, strict=True):
        end()
        with place:
            pass
    lane.close()


def test_a_closed_lane_lets_nobody_in_and_takes_the_jobs_of_those_who_are() -> None:
    lane = Lane("test", JobThreads("test", threads=1), places=1)
    lane.closed_because = "it stops"
    with pytest.raises(Problem, match="it stops"):
        lane.check_room()
    with lane.admit():
        assert lane.admitted == 1
    lane.close()


def test_work_that_outlives_its_deadline_keeps_its_place_until_it_ends() -> None:
    async def scenario() -> None:
        release = threading.Event()
        counts: list[int] = []
        lane = Lane("test", JobThreads("test", threads=1), places=1, on_change=counts.append)
        with pytest.raises(Problem) as caught, lane.admit() as place:
            await place.run(release.wait, deadline_s=0.01)
        assert caught.value.code == "deadline_exceeded"
        assert lane.admitted == 1
        release.set()
        await _settle(lane, 0)
        assert counts == [1, 0]
        lane.close()

    _run(scenario)


def test_work_that_has_not_begun_by_its_deadline_never_begins() -> None:
    async def scenario() -> None:
        release, begun = threading.Event(), threading.Event()
        lane = Lane("test", JobThreads("test", threads=1), places=2)
        with lane.admit() as first:
            running = asyncio.create_task(first.run(release.wait, deadline_s=10))
            await asyncio.sleep(0)
            with pytest.raises(Problem), lane.admit() as second:
                await second.run(begun.set, deadline_s=0.01)
            await _settle(lane, 1)
            release.set()
            await running
        await _settle(lane, 0)
        assert not begun.is_set()
        lane.close()

    _run(scenario)


def test_a_kept_place_is_freed_by_the_second_holder() -> None:
    async def scenario() -> None:
        lane = Lane("test", JobThreads("test", threads=1), places=1)
        with lane.admit() as place:
            place.keep()
        assert lane.admitted == 1
        with place:
            pass
        assert lane.admitted == 0
        lane.close()

    _run(scenario)
