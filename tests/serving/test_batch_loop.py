"""Small classifications in the event loop: the right answers, bounded turns, and only what belongs there."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from engines.engine import EngineError
from serving.classifying.batch import MOST_JOBS, Classification, Floats
from serving.classifying.batch_loop import LONGEST_S, BatchLoop
from serving.models.model import Model
from serving.models.pace import Pace
from serving.problems import Problem
from serving.runtime import Runtime
from serving.settings import Settings
from tests.serving import pictures
from tests.serving.batches import job_of, open_model, some_images
from tests.serving.in_process import asking, started


@pytest.fixture
def model(models_dir: Path) -> Model:
    loaded = open_model(models_dir)
    loaded.pace.note(1, LONGEST_S / 100)
    return loaded


def _loop(**told: Callable[[Any], None]) -> BatchLoop:
    """One for which no time passes, however slow the machine is."""
    return BatchLoop(**told, clock=lambda: 0.0)


def _run(loop: BatchLoop, *jobs: Classification[Any]) -> list[Any]:
    async def scenario() -> list[Any]:
        return await asyncio.gather(*map(loop.run, jobs), return_exceptions=True)

    return asyncio.run(scenario())


def test_what_comes_in_one_turn_is_one_batch_with_each_its_own_answer(model: Model) -> None:
    sizes: list[int] = []
    waits: list[float] = []
    answers = _run(
        _loop(on_batch=sizes.append, on_wait=waits.append), *(job_of(model, seed) for seed in range(4))
    )
    assert sizes == [4]
    assert len(waits) == 4
    for seed, logits in enumerate(answers):
        np.testing.assert_allclose(logits, model.engine.logits(some_images(model, seed)), rtol=1e-6)


def test_models_do_not_mix_and_nobody_overtakes(model: Model) -> None:
    other = dataclasses.replace(model, pace=model.pace)
    order: list[str] = []

    def job(which: Model, name: str) -> Classification[Floats]:
        return job_of(which, answer=lambda logits: order.append(name) or logits)

    sizes: list[int] = []
    _run(BatchLoop(on_batch=sizes.append), job(model, "a"), job(other, "b"), job(model, "c"))
    assert sizes == [1, 1, 1]
    assert order == ["a", "b", "c"]


def test_a_batch_is_bounded_by_what_the_model_takes(model: Model) -> None:
    model.pace.seconds_per_image = LONGEST_S / 4
    sizes: list[int] = []
    answers = _run(BatchLoop(on_batch=sizes.append), *(job_of(model) for _ in range(10)))
    assert not any(isinstance(answer, Exception) for answer in answers)
    assert sum(sizes) == 10
    assert sizes[0] <= 5

    model.pace.seconds_per_image = 0.0
    sizes.clear()
    _run(BatchLoop(on_batch=sizes.append), *(job_of(model) for _ in range(MOST_JOBS + 1)))
    assert max(sizes) <= MOST_JOBS


@pytest.mark.parametrize(("elsewhere", "computed"), [(0.0, 1), (4 * LONGEST_S, 4)])
def test_what_waits_gets_as_long_a_turn_as_everything_else(
    model: Model, elsewhere: float, computed: int
) -> None:
    now = 0.0
    sizes: list[int] = []

    def images() -> Floats:
        nonlocal now
        now += LONGEST_S
        return some_images(model, 0)

    async def scenario() -> None:
        nonlocal now
        loop = BatchLoop(on_batch=sizes.append, clock=lambda: now)
        jobs = [asyncio.ensure_future(loop.run(job_of(model, images=images))) for _ in range(8)]
        await asyncio.sleep(0)
        now += elsewhere
        await asyncio.sleep(0)
        assert sum(sizes) == computed
        await asyncio.gather(*jobs)

    asyncio.run(scenario())
    assert sum(sizes) == 8


def test_an_error_belongs_to_its_job(model: Model) -> None:
    def broken() -> Floats:
        raise Problem("image_broken", "broken")

    first, second, third = _run(
        BatchLoop(), job_of(model), job_of(model, images=broken), job_of(model, late=lambda: True)
    )
    assert isinstance(first, np.ndarray)
    assert isinstance(second, Problem) and second.code == "image_broken"
    assert isinstance(third, Problem) and third.code == "deadline_exceeded"


def test_a_mistake_ends_its_batch_and_not_the_next(model: Model) -> None:
    wrong = iter([ValueError("a metric is broken")])

    def fail(_: int) -> None:
        for error in wrong:
            raise error

    loop = _loop(on_batch=fail)
    assert all(isinstance(end, ValueError) for end in _run(loop, job_of(model), job_of(model)))
    assert isinstance(_run(loop, job_of(model))[0], np.ndarray)


def test_a_job_whose_client_has_gone_is_not_computed(model: Model) -> None:
    asked: list[int] = []

    async def scenario() -> None:
        loop = BatchLoop()
        gone, stays = (
            asyncio.ensure_future(
                loop.run(
                    job_of(model, images=lambda seed=seed: asked.append(seed) or some_images(model, seed))
                )
            )
            for seed in (0, 1)
        )
        await asyncio.sleep(0)
        gone.cancel()
        await stays
        assert gone.cancelled()

    asyncio.run(scenario())
    assert asked == [1]


def test_only_quick_images_for_quick_models_on_this_machine_are_taken(model: Model) -> None:
    quick = job_of(model, quick=True)
    assert BatchLoop.takes(quick)
    assert not BatchLoop.takes(job_of(model))

    unknown, slow = dataclasses.replace(model, pace=Pace()), dataclasses.replace(model, pace=Pace())
    slow.pace.note(1, LONGEST_S)
    far = dataclasses.replace(model, info=dataclasses.replace(model.info, engine="triton"))
    for other in (unknown, slow, far):
        assert not BatchLoop.takes(dataclasses.replace(quick, model=other))


def test_the_pace_follows_what_is_noted() -> None:
    pace = Pace()
    assert pace.seconds_per_image is None
    pace.note(4, 0.4)
    assert pace.seconds_per_image == pytest.approx(0.1)
    for _ in range(100):
        pace.note(1, 0.3)
    assert pace.seconds_per_image == pytest.approx(0.3)


def test_one_batch_that_was_kept_off_the_processor_makes_no_model_slow(model: Model) -> None:
    quick = job_of(model, quick=True)
    model.pace.seconds_per_image = LONGEST_S / 4
    model.pace.note(1, 100 * LONGEST_S)
    assert BatchLoop.takes(quick)
    for _ in range(5):
        model.pace.note(1, 100 * LONGEST_S)
    assert not BatchLoop.takes(quick)


@pytest.mark.parametrize("error", [EngineError("out of memory"), ValueError("a mistake")])
def test_a_model_that_failed_is_not_known_to_be_quick(model: Model, error: Exception) -> None:
    class Failing:
        def logits(self, _: Floats) -> Floats:
            raise error

    failing = dataclasses.replace(model, engine=Failing())
    job = job_of(failing, quick=True)
    assert BatchLoop.takes(job)
    assert isinstance(_run(BatchLoop(), job)[0], Exception)
    assert not BatchLoop.takes(job)


def test_jobs_that_wait_for_a_model_that_turns_slow_are_left_to_threads(
    models_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_the_loop: list[int] = []

    async def scenario() -> None:
        async with started(Settings(models_dir=models_dir, probe=False)) as (front, runtime):
            model = runtime.registry.loaded(None)
            assert model is not None
            model.pace.seconds_per_image = LONGEST_S / 2
            loop = _loop(on_batch=in_the_loop.append)
            monkeypatch.setattr(runtime, "batch_loop", loop)
            monkeypatch.setattr(model.pace, "note", lambda images, seconds: model.pace.forget())
            async with asking(front) as client:
                answers = await asyncio.gather(
                    *(client.post("/classify", content=pictures.plain((seed, 0, 0))) for seed in range(20))
                )
            assert [answer.status_code for answer in answers] == [200] * 20
            assert runtime.classify_lane.admitted == 0

    asyncio.run(scenario())
    assert len(in_the_loop) == 1
    assert in_the_loop[0] < 20


def test_a_small_image_needs_no_thread_and_gets_the_same_answer(
    models_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = pictures.plain((9, 200, 30))

    async def ask(client: httpx.AsyncClient, runtime: Runtime) -> dict[str, Any]:
        answer = await client.post("/classify", content=image)
        assert answer.status_code == 200, answer.text
        assert runtime.classify_lane.admitted == 0
        answered: dict[str, Any] = answer.json()
        return answered

    async def scenario() -> None:
        settings = Settings(models_dir=models_dir, probe=False)
        async with started(settings) as (front, runtime), asking(front) as client:
            model = runtime.registry.loaded(None)
            assert model is not None
            model.pace.seconds_per_image = None
            in_a_thread = await ask(client, runtime)
            model.pace.seconds_per_image = 0.0
            monkeypatch.setattr(runtime.classify_lane, "submit", None)
            assert await ask(client, runtime) == in_a_thread

    asyncio.run(scenario())
