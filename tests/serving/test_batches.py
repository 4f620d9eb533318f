"""Batches: the right answers to the right requests, and nobody pays for another's mistake."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engines.engine import EngineError
from engines.onnx_runtime import OnnxRuntimeEngine
from export.bundle import load_bundle
from serving.batches import MOST_BYTES, MOST_JOBS, BatchThreads, Classification, Floats, compute
from serving.models import Model
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


def _job(
    model: Model, seed: int = 0, count: int = 1, *, size: int = 1, **options: Any
) -> Classification[Floats]:
    options = {"images": lambda: _images(model, seed, count), "answer": lambda logits: logits} | options
    return Classification(model=model, bytes=size, **options)


def test_every_job_gets_the_logits_of_its_own_images(model: Model) -> None:
    counts = [1, 3, 2, 1]
    found = compute([_job(model, seed, count) for seed, count in enumerate(counts)])
    for seed, (count, logits) in enumerate(zip(counts, found, strict=True)):
        np.testing.assert_allclose(logits, model.engine.logits(_images(model, seed, count)), rtol=1e-6)


def test_a_mistake_stays_with_the_job_that_made_it(model: Model) -> None:
    def broken(*_: object) -> Any:
        raise Problem("image_broken", "broken")

    jobs = [
        _job(model, 0),
        _job(model, 1, images=broken),
        _job(model, 2, late=lambda: True),
        _job(model, 3, answer=broken),
        _job(model, 4, 2),
    ]
    first, second, third, fourth, last = compute(jobs)
    np.testing.assert_allclose(first, model.engine.logits(_images(model, 0)), rtol=1e-6)
    np.testing.assert_allclose(last, model.engine.logits(_images(model, 4, 2)), rtol=1e-6)
    assert [error.code for error in (second, third, fourth)] == [
        "image_broken",
        "deadline_exceeded",
        "image_broken",
    ]


def test_undefined_logits_are_an_error_of_those_images_only(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    def logits(images: Floats) -> Floats:
        brightness = images[:, :, 0, 0]
        return np.where(brightness < 0.5, np.nan, brightness)

    monkeypatch.setattr(model.engine, "logits", logits)
    half = np.full_like(_images(model, 0), 0.25)
    bright = half + np.float32(0.5)
    bad, good = compute([_job(model, images=lambda: half), _job(model, images=lambda: bright)])
    assert isinstance(bad, Problem) and bad.code == "engine_failed"
    np.testing.assert_array_equal(good, 0.75)


def test_an_engine_that_fails_fails_all_that_reached_it(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Floats) -> Floats:
        raise EngineError("no")

    def broken() -> Floats:
        raise Problem("image_broken", "broken")

    monkeypatch.setattr(model.engine, "logits", fail)
    outcomes = compute([_job(model), _job(model, images=broken), _job(model)])
    assert [outcome.code for outcome in outcomes] == ["engine_failed", "image_broken", "engine_failed"]
    assert outcomes[0].headers["Retry-After"] == "1"


class Gate:
    """A job that holds its thread until it is let go."""

    def __init__(self, model: Model) -> None:
        self.entered, self.release = threading.Event(), threading.Event()
        self.job = _job(model, images=lambda: self._images(model))

    def _images(self, model: Model) -> Floats:
        self.entered.set()
        assert self.release.wait(60)
        return _images(model, 0)


def _while_busy(model: Model, submit: Callable[[BatchThreads], list[Future[Any]]]) -> list[int]:
    """The sizes of the batches that form from what is submitted while the only thread is busy."""
    sizes: list[int] = []
    threads = BatchThreads("test", threads=1, on_batch=sizes.append)
    gate = Gate(model)
    threads.submit(gate.job)
    assert gate.entered.wait(60)
    futures = submit(threads)
    gate.release.set()
    for future in futures:
        future.exception(60)
    threads.close()
    assert sizes[0] == 1
    return sizes[1:]


def test_what_waits_is_computed_together_up_to_the_bounds(model: Model) -> None:
    assert _while_busy(model, lambda t: [t.submit(_job(model)) for _ in range(MOST_JOBS + 3)]) == [
        MOST_JOBS,
        3,
    ]
    third = MOST_BYTES // 3
    assert _while_busy(model, lambda t: [t.submit(_job(model, size=third)) for _ in range(7)]) == [3, 3, 1]
    large = [MOST_BYTES + 1, 1, 1, MOST_BYTES]
    assert _while_busy(model, lambda t: [t.submit(_job(model, size=size)) for size in large]) == [1, 2, 1]


def test_models_are_not_mixed_and_nobody_overtakes(model: Model, models_dir: Path) -> None:
    other = _model(models_dir)
    order = [model, model, other, model]
    assert _while_busy(model, lambda t: [t.submit(_job(one)) for one in order]) == [2, 1, 1]


def test_a_cancelled_job_is_never_begun(model: Model) -> None:
    begun: list[None] = []

    def images() -> Floats:
        begun.append(None)
        return _images(model, 0)

    def submit(threads: BatchThreads) -> list[Future[Any]]:
        doomed = threads.submit(_job(model, images=images))
        assert doomed.cancel()
        return [threads.submit(_job(model))]

    assert _while_busy(model, submit) == [1]
    assert not begun


def test_two_threads_compute_at_the_same_time(model: Model) -> None:
    threads = BatchThreads("test", threads=2)
    gates = [Gate(model), Gate(model)]
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
    gate = Gate(model)
    running = threads.submit(gate.job)
    assert gate.entered.wait(60)
    waiting = threads.submit(_job(model))
    threads.close()
    gate.release.set()
    assert running.result(60) is not None
    assert waiting.cancelled()
    with pytest.raises(RuntimeError):
        threads.submit(_job(model))
