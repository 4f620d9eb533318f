"""Small models with examples that attacks do not see on their way."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from probes.arrays import Array, flatten
from probes.classifier import Gradient
from probes.losses import loss_and_cotangent
from tests.probes.models import SHAPE, grey

VALUES = int(np.prod(SHAPE))
FAR, NEAR = 0.1, 0.03
"""The distances in l-inf of the class that attacks see, and of the one that they do not."""
LIGHT = np.ones(VALUES) / (VALUES * NEAR)
ONE_VALUE = np.eye(VALUES)[0] / NEAR


@dataclass(frozen=True)
class Hidden:
    """Class 1 is won by a checkerboard that `far` takes; class 2 by less, but its logit is flat except close
    to its boundary. All gradients are true."""

    hidden: Array
    """float64[D]: how fast class 2 approaches its boundary, which lies at 1."""
    far: float = FAR

    def logits(self, images: Array) -> Array:
        seen, hidden = self._rise(images)
        third = np.where(hidden > 0.9, 12.0 * (hidden - 1.0), -12.0)
        return np.stack([np.zeros_like(seen), seen - 1.0, third], axis=1).astype(np.float32)

    def gradient(self, images: Array, labels: Array, targets: Array, losses: Array) -> Gradient:
        logits = self.logits(images)
        value, cotangent = loss_and_cotangent(logits, labels, targets, losses)
        shown = np.where(self._rise(images)[1] > 0.9, 12.0, 0.0) * cotangent[:, 2]
        back = cotangent[:, 1, None] * self._seen() + shown[:, None] * self.hidden
        return Gradient(logits, value, back.reshape(images.shape).astype(np.float32))

    def _seen(self) -> Array:
        return np.where(np.arange(VALUES) % 2, 1.0, -1.0) / (VALUES * self.far)

    def _rise(self, images: Array) -> tuple[Array, Array]:
        delta = flatten(images.astype(np.float64) - grey())
        return delta @ self._seen(), delta @ self.hidden


class Ring(Hidden):
    """Flips where every value has moved by about two fifths of what class 1 takes, and at class 1."""

    def logits(self, images: Array) -> Array:
        moved = np.abs(images - grey()) / self.far
        inside = (np.min(moved, axis=(1, 2, 3)) > 0.39) & (np.max(moved, axis=(1, 2, 3)) < 0.41)
        logits = super().logits(images)
        return np.where(inside[:, None], logits[:, [1, 0, 2]], logits)
