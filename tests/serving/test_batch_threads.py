"""Batches: the right answers to the right requests, and nobody pays for another's mistake."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engines.engine import EngineError
from engines.onnx_runtime import OnnxRuntimeEngine
from export.bundle import load_bundle
from serving.classifying.batch import MOST_JOBS, Classification, Floats, compute
from serving.classifying.batch_threads import GATHERING_S, BatchThreads
from serving.models.model import Model
from serving.problems import Problem


@pytest.fixture
def model(models_dir: Path) -> Model:
    return _model(models_dir)


def _model(models_dir: Path) -> Model:
    bundle = load_bundle(models_dir / "colors" / "1")
    engine = OnnxRuntimeEngine(bundle)
    return Model(bundle=bundle, engine=engine, info=engine.describe())


def _images(model: Model, seed: int, count: int = 1) -> Floats:
    spec = model.bundle.manifest.input
    shape = (count, spec.channels, spec.height, spec.width)
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


def _job(model: Model, seed: int = 0, count: int = 1, **options: Any) -> Classification[Floats]:
    options = {"images": lambda: _images(model, seed, count), "answer": lambda logits: logits} | options
    return Classification(model=model, **options)


def _broken(*_: object) -> Any:
    raise Problem("image_broken", "broken")


def test_every_job_gets_the_logits_of_its_own_images(model: Model) -> None:
    batch = [(_job(model), _images(model, seed, count)) for seed, count in enumerate([1, 3, 2, 1])]
    for (_, images), logits in zip(batch, compute(model, batch), strict=True):
        np.testing.assert_allclose(logits, model.engine.logits(images), rtol=1e-6)


def test_an_answer_that_cannot_be_made_stays_with_its_job(model: Model) -> None:
    jobs = [_job(model), _job(model, answer=_broken), _job(model)]
    batch = [(job, _images(model, seed)) for seed, job in enumerate(jobs)]
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
    dark = np.full_like(_images(model, 0), 0.25)
    bad, good = compute(model, [(_job(model), dark), (_job(model), dark + np.float32(0.5))])
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
        ended = threads.submit(_job(model)).exception(60)
    if isinstance(error, EngineError):
        assert isinstance(ended, Problem) and ended.code == "engine_failed"
        assert ended.headers["Retry-After"] == "1"
    else:
        assert ended is error
    assert threads.submit(_job(model)).result(60) is not None
    threads.close()


@pytest.mark.parametrize("told", ["on_batch", "on_wait"])
def test_a_batch_that_goes_wrong_anywhere_ends_for_those_who_wait(model: Model, told: str) -> None:
    wrong = iter([ValueError("a metric is broken")])

    def fail(_: float) -> None:
        for error in wrong:
            raise error

    threads = BatchThreads("test", threads=1, **{told: fail})  # type: ignore[arg-type]
    assert isinstance(threads.submit(_job(model)).exception(60), ValueError)
    assert threads.submit(_job(model)).result(60) is not None
    threads.close()


class Clock:
    """Time that passes only when a test says so."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class Gate:
    """A job that holds its thread until it is let go, and takes longer than anything is gathered."""

    def __init__(self, model: Model, clock: Clock) -> None:
        self.entered, self.release = threading.Event(), threading.Event()
        self.job = _job(model, images=lambda: self._images(model, clock))

    def _images(self, model: Model, clock: Clock) -> Floats:
        self.entered.set()
        assert self.release.wait(60)
        clock.now += GATHERING_S
        return _images(model, 0)


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
    sizes = _while_busy(model, Clock(), lambda t: [t.submit(_job(model)) for _ in range(MOST_JOBS + 3)])
    assert sizes == [MOST_JOBS, 3]


def test_what_takes_long_to_decode_is_not_waited_for(model: Model) -> None:
    clock = Clock()

    def slow() -> Floats:
        clock.now += 0.6 * GATHERING_S
        return _images(model, 0)

    sizes = _while_busy(model, clock, lambda t: [t.submit(_job(model, images=slow)) for _ in range(5)])
    assert sizes == [2, 2, 1]


def test_broken_and_late_jobs_end_alone(model: Model) -> None:
    futures: list[Future[Any]] = []

    def submit(threads: BatchThreads) -> list[Future[Any]]:
        options: list[dict[str, Any]] = [{}, {"images": _broken}, {"late": lambda: True}, {}]
        futures.extend(threads.submit(_job(model, **one)) for one in options)
        return futures

    assert _while_busy(model, Clock(), submit) == [2]
    errors = [future.exception() for future in futures]
    assert errors[0] is errors[3] is None
    codes = [error.code for error in errors if isinstance(error, Problem)]
    assert codes == ["image_broken", "deadline_exceeded"]


def test_models_are_not_mixed_and_nobody_overtakes(model: Model, models_dir: Path) -> None:
    order = [model, model, _model(models_dir), model]
    assert _while_busy(model, Clock(), lambda t: [t.submit(_job(one)) for one in order]) == [2, 1, 1]


def test_a_cancelled_job_is_never_begun_and_not_kept(model: Model) -> None:
    begun: list[None] = []

    class Upload:
        """Something that a job holds."""

    upload = Upload()
    kept = weakref.ref(upload)

    def submit(threads: BatchThreads) -> list[Future[Any]]:
        nonlocal upload
        doomed = threads.submit(_job(model, images=lambda held=upload: begun.append(held)))
        del upload
        assert doomed.cancel()
        del doomed
        gc.collect()
        assert kept() is None
        return [threads.submit(_job(model))]

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


class Computing:
    """Logits of a model that are held back until a test lets them go."""

    def __init__(self, model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
        self.entered, self.release = threading.Semaphore(0), threading.Semaphore(0)
        self.now = self.most = 0
        self._logits = model.engine.logits
        monkeypatch.setattr(model.engine, "logits", self.logits)

    def logits(self, images: Floats) -> Floats:
        self.now += 1
        self.most = max(self.most, self.now)
        self.entered.release()
        assert self.release.acquire(timeout=60)
        self.now -= 1
        return self._logits(images)


@pytest.mark.parametrize("idle", [1, 2])
def test_a_batch_grows_until_the_one_before_has_been_computed(
    model: Model, monkeypatch: pytest.MonkeyPatch, idle: int
) -> None:
    sizes: list[int] = []
    computing = Computing(model, monkeypatch)
    threads = BatchThreads("test", threads=1 + idle, at_once=lambda _: 1, on_batch=sizes.append)
    futures = [threads.submit(_job(model))]
    assert computing.entered.acquire(timeout=60)
    decoded = threading.Semaphore(0)

    def decode() -> Floats:
        decoded.release()
        return _images(model, 0)

    for _ in range(3):
        futures.append(threads.submit(_job(model, images=decode)))
        # While the one before is computed.
        assert decoded.acquire(timeout=60)
    computing.release.release(2)
    assert all(future.result(60) is not None for future in futures)
    threads.close()
    assert (sizes, computing.most) == ([1, 3], 1)


def test_a_batch_that_is_full_leaves_the_others_to_the_next(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    computing = Computing(model, monkeypatch)
    threads = BatchThreads("test", threads=3, at_once=lambda _: 1, on_batch=sizes.append)
    futures = [threads.submit(_job(model))]
    assert computing.entered.acquire(timeout=60)
    decoded = threading.Semaphore(0)

    def decode() -> Floats:
        decoded.release()
        return _images(model, 0)

    for _ in range(MOST_JOBS + 3):
        futures.append(threads.submit(_job(model, images=decode)))
        assert decoded.acquire(timeout=60)
    computing.release.release(3)
    assert all(future.result(60) is not None for future in futures)
    threads.close()
    assert (sorted(sizes), computing.most) == ([1, 3, MOST_JOBS], 1)


def test_what_is_slow_is_computed_beside_the_others(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    computing = Computing(model, monkeypatch)
    threads = BatchThreads("test", threads=2, at_once=lambda _: 1)
    futures = [threads.submit(_job(model)), threads.submit(_job(model, slow=True))]
    for _ in futures:
        assert computing.entered.acquire(timeout=60)
    assert computing.most == 2
    computing.release.release(2)
    assert all(future.result(60) is not None for future in futures)
    threads.close()


def test_a_batch_that_fails_leaves_its_turn_to_the_next(model: Model) -> None:
    wrong = iter([ValueError("a metric is broken")])

    def fail(_: float) -> None:
        for error in wrong:
            raise error

    threads = BatchThreads("test", threads=2, at_once=lambda _: 1, on_batch=fail)
    assert isinstance(threads.submit(_job(model)).exception(60), ValueError)
    assert threads.submit(_job(model, images=_broken)).exception(60) is not None
    assert threads.submit(_job(model)).result(60) is not None
    threads.close()


def test_closing_drops_what_waits_and_refuses_more(model: Model) -> None:
    threads = BatchThreads("test", threads=1)
    gate = Gate(model, Clock())
    running = threads.submit(gate.job)
    assert gate.entered.wait(60)
    waiting = threads.submit(_job(model))
    threads.close()
    gate.release.set()
    assert running.result(60) is not None
    assert waiting.cancelled()
    with pytest.raises(RuntimeError):
        threads.submit(_job(model))
