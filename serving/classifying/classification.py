"""From uploaded bytes to named probabilities, without HTTP."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engines.preprocess import model_input
from probes.prediction import softmax
from serving.models.model import Model
from serving.problems import Problem, deadline_exceeded
from serving.uploads.images import decode, to_rgb


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
        Problem: as `serving.uploads.images.decode`.
    """
    spec = model.bundle.manifest.input
    return model_input(decode(data, max_pixels=max_pixels, shorter_side=spec.resize), spec)


def prepare_opened(image: Image.Image, model: Model) -> NDArray[np.float32]:
    """An opened image as the model sees it: float32[1, 3, H, W] in [0, 1].

    Raises:
        Problem: as `serving.uploads.images.to_rgb`.
    """
    spec = model.bundle.manifest.input
    return model_input(to_rgb(image, shorter_side=spec.resize), spec)[np.newaxis]


def prepare_all(
    uploads: Sequence[bytes], model: Model, *, max_pixels: int, late: Callable[[], bool]
) -> NDArray[np.float32]:
    """Some uploads as the model sees them: float32[N, 3, H, W].

    Args:
        late: whether the answer would come too late; asked before each image.

    Raises:
        Problem: an image cannot be decoded (says which), or deadline_exceeded.
    """
    batch = []
    for number, data in enumerate(uploads):
        if late():
            raise deadline_exceeded("the images were not decoded before the deadline")
        try:
            batch.append(prepare(data, model, max_pixels=max_pixels))
        except Problem as problem:
            if len(uploads) > 1:
                problem.extensions["image"] = number
                problem.detail = f"image {number} (counted from 0): {problem.detail}"
            raise
    return np.stack(batch)


def predictions(logits: NDArray[np.float32], classes: Sequence[str], *, top: int) -> list[Prediction]:
    """What logits float32[N, K] say about each of N images."""
    probabilities = softmax(logits)
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :top].tolist()
    return [
        _prediction(row, indices, classes) for row, indices in zip(probabilities.tolist(), order, strict=True)
    ]


def _prediction(probabilities: Sequence[float], order: Sequence[int], classes: Sequence[str]) -> Prediction:
    labels = [Label(label=classes[i], index=i, probability=probabilities[i]) for i in order]
    return Prediction(**labels[0], top=labels)
