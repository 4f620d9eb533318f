"""Batches: the right answers to the right requests, and nobody pays for another's mistake."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engines.engine import EngineError
from serving.classifying.batch import MOST_JOBS, Floats, compute
from serving.classifying.batch_threads import GATHERING_S, BatchThreads
from serving.models.model import Model
from serving.problems import Problem
from tests.serving.batches import Clock, Gate, broken, job_of, open_model, some_images


@pytest.fixture
def model(models_dir: Path) -> Model:
    return open_model(models_dir)


def test_every_job_gets_the_logits_of_its_own_images(model: Model) -> None:
    batch = [(job_of(model), some_images(model, seed, count)) for seed, count in enumerate([1, 3, 2, 1])]
    for (_, images), logits in zip(batch, compute(model, batch), strict=True):
        np.testing.assert_allclose(logits, model.engine.logits(images), rtol=1e-6)


def test_an_answer_that_cannot_be_made_stays_with_its_job(model: Model) -> None:
    jobs = [job_of(model), job_of(model, answer=broken), job_of(model)]
    batch = [(job, some_images(model, seed)) for seed, job in enumerate(jobs)]
    first, second, third = compute(model, batch)
    np.testing.assert_allclose(first, model.engine.logits(batch[0][1]), rtol=1e-6)
    np.testing.assert_allclose(third, model.engine.logits(batch[2][1]), rtol=1e-6)
    assert second.code == "image_broken"


def test_undefined_logits_are_an_error_of_those_images_only(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    def logits(images: Floats) -> Floats:
        brightness = images[:, :, 0, 0]
        return np.where(brightness < 0.5, np.nan, brightness)

    monkeypatch.setattr(model.engine, "logits", logits)
    dark = np.full_like(some_images(model, 0), 0.25)
    bad, good = compute(model, [(job_of(model), dark), (job_of(model), dark + np.float32(0.5))])
    assert isinstance(bad, Problem) and bad.code == "engine_failed"
    np.testing.assert_array_equal(good, 0.75)


@pytest.mark.parametrize("error", [EngineError("no"), MemoryError("no")])
def test_an_engine_that_fails_fails_its_batch_and_not_the_next(
    model: Model, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(_: Floats) -> Floats:
        raise error

    threads = BatchThreads("test", threads=1)
    with monkeypatch.context() as patch:
        patch.setattr(model.engine, "logits", fail)
        ended = threads.submit(job_of(model)).exception(60)
    if isinstance(error, EngineError):
        assert isinstance(ended, Problem) and ended.code == "engine_failed"
        assert ended.headers["Retry-After"] == "1"
    else:
        assert ended is error
    assert threads.submit(job_of(model)).result(60) is not None
    threads.close()


@pytest.mark.parametrize("told", ["on_batch", "on_wait"])
def test_a_batch_that_goes_wrong_anywhere_ends_for_those_who_wait(model: Model, told: str) -> None:
    wrong = iter([ValueError("a metric is broken")])

    def fail(_: float) -> None:
        for error in wrong:
            raise error

    threads = BatchThreads("test", threads=1, **{told: fail})  # type: ignore[arg-type]
    assert isinstance(threads.submit(job_of(model)).exception(60), ValueError)
    assert threads.submit(job_of(model)).result(60) is not None
    threads.close()


def _while_busy(model: Model, clock: Clock, submit: Callable[[BatchThreads], list[Future[Any]]]) -> list[int]:
    """The sizes of the batches that form from what is submitted while the only thread is busy."""
    sizes: list[int] = []
    threads = BatchThreads("test", threads=1, on_batch=sizes.append, clock=clock)
    gate = Gate(model, clock)
    threads.submit(gate.job)
    assert gate.entered.wait(60)
    futures = submit(threads)
    gate.release.set()
    for future in futures:
        future.exception(60)
    threads.close()
    assert sizes[0] == 1
    return sizes[1:]


def test_what_waits_is_computed_together_up_to_a_bound(model: Model) -> None:
    sizes = _while_busy(model, Clock(), lambda t: [t.submit(job_of(model)) for _ in range(MOST_JOBS + 3)])
    assert sizes == [MOST_JOBS, 3]


def test_what_takes_long_to_decode_is_not_waited_for(model: Model) -> None:
    clock = Clock()

    def slow() -> Floats:
        clock.now += 0.6 * GATHERING_S
        return some_images(model, 0)

    sizes = _while_busy(model, clock, lambda t: [t.submit(job_of(model, images=slow)) for _ in range(5)])
    assert sizes == [2, 2, 1]


def test_broken_and_late_jobs_end_alone(model: Model) -> None:
    futures: list[Future[Any]] = []

    def submit(threads: BatchThreads) -> list[Future[Any]]:
        options: list[dict[str, Any]] = [{}, {"images": broken}, {"late": lambda: True}, {}]
        futures.extend(threads.submit(job_of(model, **one)) for one in options)
        return futures

    assert _while_busy(model, Clock(), submit) == [2]
    errors = [future.exception() for future in futures]
    assert errors[0] is errors[3] is None
    codes = [error.code for error in errors if isinstance(error, Problem)]
    assert codes == ["image_broken", "deadline_exceeded"]


def test_models_are_not_mixed_and_nobody_overtakes(model: Model, models_dir: Path) -> None:
    order = [model, model, open_model(models_dir), model]
    assert _while_busy(model, Clock(), lambda t: [t.submit(job_of(one)) for one in order]) == [2, 1, 1]


def test_a_cancelled_job_is_never_begun_and_not_kept(model: Model) -> None:
    begun: list[None] = []

    class Upload:
        """Something that a job holds."""

    upload = Upload()
    kept = weakref.ref(upload)

    def submit(threads: BatchThreads) -> list[Future[Any]]:
        nonlocal upload
        doomed = threads.submit(job_of(model, images=lambda held=upload: begun.append(held)))
        del upload
        assert doomed.cancel()
        del doomed
        gc.collect()
        assert kept() is None
        return [threads.submit(job_of(model))]

    assert _while_busy(model, Clock(), submit) == [1]
    assert not begun


def test_two_threads_compute_at_the_same_time(model: Model) -> None:
    threads = BatchThreads("test", threads=2)
    gates = [Gate(model, Clock()), Gate(model, Clock())]
    futures = []
    for gate in gates:
        futures.append(threads.submit(gate.job))
        assert gate.entered.wait(60)
    for gate in gates:
        gate.release.set()
    assert all(future.result(60) is not None for future in futures)
    threads.close()


def test_closing_drops_what_waits_and_refuses_more(model: Model) -> None:
    threads = BatchThreads("test", threads=1)
    gate = Gate(model, Clock())
    running = threads.submit(gate.job)
    assert gate.entered.wait(60)
    waiting = threads.submit(job_of(model))
    threads.close()
    gate.release.set()
    assert running.result(60) is not None
    assert waiting.cancelled()
    with pytest.raises(RuntimeError):
        threads.submit(job_of(model))
