"""On a CPU batches are computed in turn, and the next one grows until it has its turn."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from serving.classifying.batch import MOST_IMAGES, MOST_JOBS, Floats
from serving.classifying.batch_threads import BatchThreads
from serving.models.engine_start import batches_at_once
from serving.models.model import Model
from serving.observing.later import Later
from serving.observing.metrics import Metrics
from serving.settings import Settings
from serving.worker_lanes import WorkerLanes
from tests.serving.batches import Clock, Gate, broken, job_of, open_model, some_images


@pytest.fixture
def model(models_dir: Path) -> Model:
    return open_model(models_dir)


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


@pytest.mark.parametrize(
    ("count", "jobs", "following"), [(2, 3, [3]), (3, 3, [3]), (3, MOST_JOBS + 3, [3, MOST_JOBS])]
)
def test_a_batch_grows_until_the_one_before_has_been_computed(
    model: Model, monkeypatch: pytest.MonkeyPatch, count: int, jobs: int, following: list[int]
) -> None:
    sizes: list[int] = []
    computing = Computing(model, monkeypatch)
    threads = BatchThreads("test", threads=count, at_once=lambda _: 1, on_batch=sizes.append)
    futures = [threads.submit(job_of(model))]
    assert computing.entered.acquire(timeout=60)
    decoded = threading.Semaphore(0)

    def decode() -> Floats:
        decoded.release()
        return some_images(model, 0)

    for _ in range(jobs):
        futures.append(threads.submit(job_of(model, images=decode)))
        # While the one before is computed.
        assert decoded.acquire(timeout=60)
    computing.release.release(1 + len(following))
    assert all(future.result(60) is not None for future in futures)
    threads.close()
    assert (sizes[0], sorted(sizes[1:]), computing.most) == (1, following, 1)


def test_a_batch_does_not_grow_beyond_so_many_images(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    computing = Computing(model, monkeypatch)
    threads = BatchThreads("test", threads=2, at_once=lambda _: 1, on_batch=sizes.append)
    futures = [threads.submit(job_of(model))]
    assert computing.entered.acquire(timeout=60)
    half, decoded = MOST_IMAGES // 2, threading.Semaphore(0)

    def decode() -> Floats:
        decoded.release()
        return some_images(model, 0, half)

    futures += [threads.submit(job_of(model, images=decode)) for _ in range(4)]
    assert decoded.acquire(timeout=60) and decoded.acquire(timeout=60)
    computing.release.release(5)
    assert all(future.result(60) is not None for future in futures)
    threads.close()
    assert sizes[:2] == [1, 2] and max(sizes) == 2


def test_a_batch_that_waits_to_be_computed_is_not_overtaken(
    model: Model, models_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, order = open_model(models_dir), list[str]()
    computing = Computing(model, monkeypatch)
    threads = BatchThreads("test", threads=2, at_once=lambda _: 1)
    logits = other.engine.logits

    def note(images: Floats) -> Floats:
        order.append("other")
        return logits(images)

    monkeypatch.setattr(other.engine, "logits", note)
    first = threads.submit(job_of(model))
    assert computing.entered.acquire(timeout=60)
    futures = [threads.submit(job_of(other))]
    deadline = time.monotonic() + 60
    while not any(batch.waits for batch in threads._queue):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    futures += [
        threads.submit(job_of(model, answer=lambda _: order.append("model") or True))
        for _ in range(MOST_JOBS)
    ]
    computing.release.release(MOST_JOBS)
    assert all(future.result(60) is not None for future in (first, *futures))
    threads.close()
    assert order[0] == "other"


def test_nothing_waits_for_a_batch_that_is_still_decoded_and_could_be_computed(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    computing = Computing(model, monkeypatch)
    threads = BatchThreads("test", threads=2, at_once=lambda _: 1)
    first = threads.submit(job_of(model))
    assert computing.entered.acquire(timeout=60)
    gate = Gate(model, Clock())
    lasting = threads.submit(gate.job)
    assert gate.entered.wait(60)
    computing.release.release(2)
    assert first.result(60) is not None
    assert threads.submit(job_of(model)).result(60) is not None
    computing.release.release()
    gate.release.set()
    assert lasting.result(60) is not None
    threads.close()


def test_what_is_slow_is_computed_beside_the_others(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    computing = Computing(model, monkeypatch)
    threads = BatchThreads("test", threads=2, at_once=lambda _: 1)
    futures = [threads.submit(job_of(model)), threads.submit(job_of(model, slow=True))]
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
    assert isinstance(threads.submit(job_of(model)).exception(60), ValueError)
    assert threads.submit(job_of(model, images=broken)).exception(60) is not None
    assert threads.submit(job_of(model)).result(60) is not None
    threads.close()


@pytest.mark.parametrize(
    ("workers", "engine_threads", "at_once"),
    [(1, 0, 1), (2, 0, 1), (8, 0, 1), (1, 1, 4), (2, 1, 2), (1, 8, 1)],
)
def test_as_many_batches_are_computed_at_once_as_have_cores(
    monkeypatch: pytest.MonkeyPatch, models_dir: Path, workers: int, engine_threads: int, at_once: int
) -> None:
    monkeypatch.setattr("serving.models.engine_start.usable_cores", lambda: 4)
    settings = Settings(models_dir=models_dir, workers=workers, engine_threads=engine_threads)
    assert batches_at_once(settings) == at_once
    lanes = WorkerLanes(settings, Metrics(), later=Later(), probes=1)
    on_cpu, elsewhere = (cast(Model, SimpleNamespace(is_on_cpu=on_cpu)) for on_cpu in (True, False))
    threads = cast(BatchThreads, lanes.classify._workers)
    assert (threads._at_once(on_cpu), threads._at_once(elsewhere)) == (at_once, None)
    lanes.close()
