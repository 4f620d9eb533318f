"""Slow and heavy decoding: nothing quick waits for it that need not, and heavy jobs take turns."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future, wait
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from serving.classifying.batch import Classification, Floats
from serving.classifying.batch_threads import BatchThreads
from serving.lanes import Lane
from serving.models.model import Model
from serving.models.pace import Pace
from serving.problems import Problem
from serving.settings import Settings
from tests.serving import pictures
from tests.serving.in_process import asking, started

IMAGES = np.zeros((1, 3, 2, 2), np.float32)
MODEL = cast(
    Model,
    SimpleNamespace(
        engine=SimpleNamespace(logits=lambda images: images[:, :, 0, 0]), pace=Pace(), is_on_cpu=True
    ),
)


class Jobs:
    """Jobs whose decoding begins and ends where a test can see it."""

    def __init__(self, threads: int) -> None:
        self.threads = BatchThreads("test", threads=threads)
        self.begun: list[str] = []
        self._entered: dict[str, threading.Event] = {}
        self._release: dict[str, threading.Event] = {}

    def submit(self, name: str, *, held: bool = False, **cost: bool) -> Future[str]:
        return self.threads.submit(self.job(name, held=held, **cost))

    def job(self, name: str, *, held: bool = False, **cost: bool) -> Classification[str]:
        entered, release = threading.Event(), threading.Event()
        self._entered[name], self._release[name] = entered, release

        def images() -> Floats:
            self.begun.append(name)
            entered.set()
            assert not held or release.wait(60)
            return IMAGES

        return Classification(model=MODEL, images=images, answer=lambda _: name, **cost)

    def wait_for(self, name: str) -> None:
        assert self._entered[name].wait(60)

    def release(self, name: str) -> None:
        self._release[name].set()


def _all(*futures: Future[str]) -> None:
    assert not wait(futures, 60).not_done


def test_what_was_gathered_is_computed_before_a_slow_one_is_decoded() -> None:
    jobs = Jobs(threads=1)
    jobs.submit("gate", held=True)
    jobs.wait_for("gate")
    first = [jobs.submit(name) for name in "ab"]
    slow = jobs.submit("slow", held=True, slow=True)
    behind = jobs.submit("c")
    jobs.release("gate")
    _all(*first, behind)
    assert not slow.done()
    jobs.release("slow")
    _all(slow)


def test_between_two_slow_ones_come_those_that_are_not() -> None:
    jobs = Jobs(threads=1)
    jobs.submit("gate", held=True, slow=True)
    jobs.wait_for("gate")
    futures = [jobs.submit(name, slow=name.startswith("slow")) for name in ("slow 1", "a", "slow 2", "b")]
    jobs.release("gate")
    _all(*futures)
    assert jobs.begun == ["gate", "a", "b", "slow 1", "slow 2"]


def test_a_slow_one_comes_up_however_many_others_there_are() -> None:
    jobs = Jobs(threads=1)
    jobs.submit("gate", held=True)
    jobs.wait_for("gate")
    # More than one batch.
    futures = [jobs.submit("slow", slow=True), *(jobs.submit(str(number)) for number in range(100))]
    jobs.release("gate")
    _all(*futures)
    assert jobs.begun.index("slow") < 70


def test_while_one_thread_decodes_a_slow_one_the_other_takes_what_is_not() -> None:
    jobs = Jobs(threads=2)
    jobs.submit("slow 1", held=True, slow=True)
    jobs.submit("gate", held=True)
    jobs.wait_for("slow 1")
    jobs.wait_for("gate")
    second, quick = jobs.submit("slow 2", slow=True), jobs.submit("quick")
    jobs.release("gate")
    _all(quick)
    jobs.release("slow 1")
    _all(second)
    assert jobs.begun[2:] == ["quick", "slow 2"]


@pytest.mark.parametrize("threads", [2, 3])
def test_slow_ones_leave_a_thread_for_what_comes_later(threads: int) -> None:
    jobs = Jobs(threads=threads)
    slow = [jobs.submit(f"slow {number}", held=True, slow=True) for number in range(threads)]
    for number in range(threads - 1):
        jobs.wait_for(f"slow {number}")
    for name in ("quick", "later"):
        _all(jobs.submit(name))
    for number in range(threads):
        jobs.release(f"slow {number}")
    _all(*slow)
    assert jobs.begun.index("later") < jobs.begun.index(f"slow {threads - 1}")


def test_a_slow_one_that_is_computed_leaves_a_thread_as_well() -> None:
    jobs = Jobs(threads=2)
    computing, release = threading.Event(), threading.Event()

    def logits(images: Floats) -> Floats:
        computing.set()
        assert release.wait(60)
        return images[:, :, 0, 0]

    lasting = cast(Model, SimpleNamespace(engine=SimpleNamespace(logits=logits), pace=Pace()))
    many = Classification(model=lasting, images=lambda: IMAGES, answer=lambda _: "many", slow=True)
    first = jobs.threads.submit(many)
    assert computing.wait(60)
    second = jobs.submit("slow", held=True, slow=True)
    _all(jobs.submit("quick"))
    assert jobs.begun == ["quick"]
    release.set()
    jobs.release("slow")
    _all(first, second)


def test_heavy_ones_take_turns_and_hold_no_thread_meanwhile() -> None:
    jobs = Jobs(threads=3)
    heavy = [jobs.submit(name, held=True, slow=True, heavy=True) for name in ("heavy 1", "heavy 2")]
    jobs.wait_for("heavy 1")
    _all(*(jobs.submit(name) for name in "abc"))
    _all(jobs.submit("slow", slow=True))
    assert "heavy 2" not in jobs.begun
    jobs.release("heavy 1")
    jobs.wait_for("heavy 2")
    jobs.release("heavy 2")
    _all(*heavy)


def test_a_heavy_one_that_fails_gives_up_its_turn() -> None:
    jobs = Jobs(threads=1)

    def broken() -> Floats:
        raise Problem("image_broken", "broken")

    failing = jobs.threads.submit(
        Classification(model=MODEL, images=broken, answer=str, slow=True, heavy=True)
    )
    _all(failing, jobs.submit("heavy", slow=True, heavy=True))


def test_who_waits_for_a_turn_past_the_deadline_is_told_so_and_never_decoded() -> None:
    jobs = Jobs(threads=2)

    async def scenario() -> None:
        lane: Lane[Classification[Any]] = Lane("classify", jobs.threads, places=4)
        with lane.admit() as place, pytest.raises(Problem) as caught:
            await place.run(jobs.job("late", slow=True, heavy=True), deadline_s=0.01)
        assert caught.value.code == "deadline_exceeded"

    heavy = jobs.submit("heavy", held=True, slow=True, heavy=True)
    jobs.wait_for("heavy")
    asyncio.run(scenario())
    jobs.release("heavy")
    _all(heavy, jobs.submit("next", slow=True, heavy=True))
    assert jobs.begun == ["heavy", "next"]


def test_however_many_large_images_wait_a_small_one_is_answered(models_dir: Path) -> None:
    jobs = Jobs(threads=2)

    async def scenario() -> None:
        settings = Settings(models_dir=models_dir, probe=False, classify_queue=38)
        async with started(settings) as (front, runtime), asking(front) as client, asyncio.timeout(60):
            jobs.threads = cast(BatchThreads, runtime.classify_lane._workers)
            gate = jobs.submit("gate", held=True, slow=True)
            jobs.wait_for("gate")
            large = [
                asyncio.create_task(client.post("/classify", content=pictures.bomb(1000))) for _ in range(30)
            ]
            answers = asyncio.as_completed(large)
            # All but half of the forty places.
            for reply in [await next(answers) for _ in range(10)]:
                assert (reply.status_code, reply.json()["code"]) == (503, "overloaded")
            labels = {"lane": "classify", "reason": "slow"}
            assert runtime.metrics.registry.get_sample_value("clead_shed_total", labels) == 10
            assert (await client.post("/classify", content=pictures.bomb(300))).status_code == 200
            jobs.release("gate")
            assert {(await reply).status_code for reply in answers} == {200}
            assert gate.done()

    asyncio.run(scenario())


def test_the_route_says_what_an_upload_costs(models_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    costs: list[tuple[bool, bool]] = []
    submit = BatchThreads.submit

    def spy(threads: BatchThreads, job: Classification[Any]) -> Future[Any]:
        costs.append((job.slow, job.heavy))
        return submit(threads, job)

    monkeypatch.setattr(BatchThreads, "submit", spy)

    async def scenario() -> None:
        async with (
            started(Settings(models_dir=models_dir, probe=False)) as (front, _),
            asking(front) as client,
        ):
            for side in (300, 1000, 2100):
                assert (await client.post("/classify", content=pictures.bomb(side))).status_code == 200

    asyncio.run(scenario())
    assert costs == [(False, False), (True, False), (True, True)]
