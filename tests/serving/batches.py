"""Jobs for batches: what is decoded, and when."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np

from engines.onnx_runtime import OnnxRuntimeEngine
from export.bundle import load_bundle
from serving.classifying.batch import Classification, Floats
from serving.classifying.batch_threads import GATHERING_S
from serving.models.model import Model
from serving.problems import Problem


def open_model(models_dir: Path) -> Model:
    """The model of the tests, on the engine that serves it."""
    bundle = load_bundle(models_dir / "colors" / "1")
    engine = OnnxRuntimeEngine(bundle)
    return Model(bundle=bundle, engine=engine, info=engine.describe())


def some_images(model: Model, seed: int, count: int = 1) -> Floats:
    """float32[count, C, H, W], another for each seed."""
    spec = model.bundle.manifest.input
    shape = (count, spec.channels, spec.height, spec.width)
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


def job_of(model: Model, seed: int = 0, count: int = 1, **options: Any) -> Classification[Floats]:
    """A job whose answer is its logits, but for `options`."""
    options = {"images": lambda: some_images(model, seed, count), "answer": lambda logits: logits} | options
    return Classification(model=model, **options)


def broken(*_: object) -> Any:
    """Decodes nothing."""
    raise Problem("image_broken", "broken")


class Clock:
    """Time that passes only when a test says so."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class Gate:
    """A job that holds its thread until it is let go, and takes longer than anything is gathered."""

    def __init__(self, model: Model, clock: Clock) -> None:
        self.entered, self.release = threading.Event(), threading.Event()
        self.job = job_of(model, images=lambda: self._held_images(model, clock))

    def _held_images(self, model: Model, clock: Clock) -> Floats:
        self.entered.set()
        assert self.release.wait(60)
        clock.now += GATHERING_S
        return some_images(model, 0)
