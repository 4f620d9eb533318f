"""From uploaded bytes to named probabilities, without HTTP."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from engines.engine import EngineError
from engines.preprocess import model_input
from probes.prediction import softmax
from serving.images import decode
from serving.models import Model
from serving.problems import Problem, deadline_exceeded


class Label(TypedDict):
    """One class and how probable the model finds it, in [0, 1]."""

    label: str
    index: int
    probability: float


class Prediction(Label):
    """The most probable class, and the `top` most probable ones in order."""

    top: list[Label]


def prepare(data: bytes, model: Model, *, max_pixels: int) -> NDArray[np.float32]:
    """One upload as the model sees it: float32[3, H, W] in [0, 1].

    Raises:
        Problem: as `serving.images.decode`.
    """
    spec = model.bundle.manifest.input
    return model_input(decode(data, max_pixels=max_pixels, shorter_side=spec.resize), spec)


def classify(
    uploads: Sequence[bytes], model: Model, *, top: int, max_pixels: int, late: Callable[[], bool]
) -> list[Prediction]:
    """Predictions for some uploads, computed as one batch.

    Args:
        late: whether the answer would come too late; asked before each image and before the model.

    Raises:
        Problem: an image cannot be decoded (says which), deadline_exceeded, or engine_failed.
    """
    batch = []
    for number, data in enumerate(uploads):
        _check_time(late)
        try:
            batch.append(prepare(data, model, max_pixels=max_pixels))
        except Problem as problem:
            if len(uploads) > 1:
                problem.extensions["image"] = number
                problem.detail = f"image {number} (counted from 0): {problem.detail}"
            raise
    return [
        _prediction(row, model.classes, top)
        for row in softmax(finite_logits(np.stack(batch), model, late=late))
    ]


def finite_logits(
    images: NDArray[np.float32], model: Model, *, late: Callable[[], bool]
) -> NDArray[np.float32]:
    """What the model answers to float32[N, 3, H, W]: float32[N, K].

    Raises:
        Problem: deadline_exceeded (before it begins), or engine_failed.
    """
    _check_time(late)
    try:
        logits: NDArray[np.float32] = model.engine.logits(images)
    except EngineError as error:
        raise Problem(
            "engine_failed", "the engine did not answer: try again", headers={"Retry-After": "1"}
        ) from error
    if not np.isfinite(logits).all():
        raise Problem(
            "engine_failed", "the engine answered with numbers that are not finite: tell the operator"
        )
    return logits


def _check_time(late: Callable[[], bool]) -> None:
    if late():
        raise deadline_exceeded("the images were not classified before the deadline")


def _prediction(probabilities: NDArray[np.float64], classes: Sequence[str], top: int) -> Prediction:
    order = np.argsort(-probabilities, kind="stable")[:top]
    labels = [Label(label=classes[i], index=int(i), probability=float(probabilities[i])) for i in order]
    return Prediction(**labels[0], top=labels)
