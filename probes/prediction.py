"""What a classifier answers for an image, as probabilities."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from probes.arrays import Array


@dataclass(frozen=True, slots=True)
class Prediction:
    """The most probable class of one image."""

    index: int
    probability: float


def softmax(logits: Array) -> Array:
    """Probabilities float64[N, K] of NumPy logits [N, K]."""
    exact = np.asarray(logits, dtype=np.float64)
    shifted = np.exp(exact - exact.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


def predictions(logits: Array) -> list[Prediction]:
    """The most probable class of each row of NumPy logits [N, K], the first one of several equals."""
    chosen = np.argmax(logits, axis=1)
    probabilities = softmax(logits)
    return [Prediction(int(index), float(probabilities[row, index])) for row, index in enumerate(chosen)]
