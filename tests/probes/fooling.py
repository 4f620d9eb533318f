"""A model of the size of real images to fool each check of a report, and the honest one they are made from.

The honest model is linear, so the smallest eps that flips it is known, and only the largest of its image's
3,072 values could matter to chance: what 48 values give away by luck, noise or a few queries, these do not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from probes.approach import FIRST_RIVALS
from probes.arrays import Array, flatten
from probes.classifier import Classifier, Gradient
from probes.losses import loss_and_cotangent
from probes.threat import Norm
from tests.probes.models import Linear, steepest_climb

SHAPE = (3, 32, 32)
FLIPS = 4 / 255
"""The smallest eps that flips the honest model in l-inf."""


def photo(seed: int = 0) -> Array:
    """An image on the 8-bit grid and away from its ends: float32[3, 32, 32]."""
    levels = np.random.default_rng(seed).integers(60, 190, size=SHAPE)
    return (levels / 255).astype(np.float32)


def honest(seed: int = 0, *, smooth: bool = False, norm: Norm = "linf", flips: float = FLIPS) -> Linear:
    """Two linear classes, the first ahead at `photo(seed)` by what `flips` in `norm` takes away.

    Args:
        smooth: weights that are equal over squares of 4 x 4 pixels; otherwise each is drawn by itself.
        flips: in l1, of balls that meet no edge of [0, 1] with their steepest value.
    """
    generator = np.random.default_rng(1000 + seed)
    weights = generator.normal(size=(2, 3, 8, 8) if smooth else (2, *SHAPE))
    weights = np.kron(weights, np.ones((1, 1, 4, 4))) if smooth else weights
    weights = weights.reshape(2, -1).astype(np.float32)
    steepness = np.abs((weights[1] - weights[0]).astype(np.float64))
    rate = {"linf": np.sum(steepness), "l2": np.sqrt(np.sum(steepness**2)), "l1": np.max(steepness)}[norm]
    at_image = weights @ photo(seed).ravel()
    return Linear(weights, np.asarray([flips * rate, 0.0], dtype=np.float32) - at_image)


class Copy(Linear):
    """Made from another linear model."""

    @classmethod
    def like(cls, model: Linear) -> Self:
        return cls(model.weights, model.bias)


class Following(Copy):
    """Answers honestly; its gradient is the honest one, as `shown` lets it through."""

    def gradient(self, images: Array, labels: Array, targets: Array, losses: Array) -> Gradient:
        logits, value, gradient = super().gradient(images, labels, targets, losses)
        return Gradient(logits, value, (gradient * self.shown(images)).astype(np.float32))

    def shown(self, images: Array) -> Array:
        raise NotImplementedError


class Reversed(Following):
    """Points the wrong way everywhere."""

    def shown(self, images: Array) -> Array:
        return np.float32(-1.0)


class Diverted(Following):
    """Points the wrong way for two values in seven: the loss rises, but not as far as it could."""

    def shown(self, images: Array) -> Array:
        return np.where(np.arange(images[0].size).reshape(images.shape[1:]) % 7 < 2, -1.0, 1.0)


class HalfHidden(Following):
    """Shows nothing of every second value."""

    def shown(self, images: Array) -> Array:
        return np.arange(images[0].size).reshape(images.shape[1:]) % 2


class RightAtTheImage(Following):
    """Points the wrong way as soon as the image is left."""

    def shown(self, images: Array) -> Array:
        return np.where(np.any(images != photo(), axis=(1, 2, 3), keepdims=True), -1.0, 1.0)


class Vanishing(Following):
    """Shows nothing once any value has moved by half of what flips."""

    def shown(self, images: Array) -> Array:
        return np.max(np.abs(images - photo()), axis=(1, 2, 3), keepdims=True) < 0.5 * FLIPS


class BitByBit(Following):
    """Shows a tenth of the values at a time, the next one when the last has been moved."""

    def shown(self, images: Array) -> Array:
        done = np.mean(np.abs(images - photo()).reshape(len(images), 8, -1), axis=2) > 0.9 * 3 / 255
        turn = np.argmin(done, axis=1)
        blocks = np.arange(images[0].size).reshape(images.shape[1:]) // (images[0].size // 8)
        return blocks == turn[:, None, None, None]


class ValueByValue(Following):
    """Shows the steepest value that has not been moved to its edge yet, and no other."""

    def shown(self, images: Array) -> Array:
        wanted = self.weights[1] - self.weights[0]
        steepest, clean = np.argsort(-np.abs(wanted)), photo().ravel()
        room = np.where(wanted > 0, 1.0 - clean, clean)
        moved = np.abs(flatten(images) - clean) > 0.9 * room
        turn = steepest[np.argmin(moved[:, steepest], axis=1)]
        return (np.arange(clean.size) == turn[:, None]).reshape(images.shape)


@dataclass(frozen=True)
class Shattered:
    """A model that sees x + a sin(w x): the slope of so fast a wave is right, and leads nowhere (Athalye et
    al., arXiv 1802.00420)."""

    model: Linear
    amplitude: float = 0.3 / 255
    frequency: float = 3e4

    def logits(self, images: Array) -> Array:
        return self.model.logits(self._seen(images).astype(np.float32))

    def gradient(self, images: Array, labels: Array, targets: Array, losses: Array) -> Gradient:
        logits, value, gradient = self.model.gradient(self._seen(images), labels, targets, losses)
        wave = 1.0 + self.amplitude * self.frequency * np.cos(self.frequency * images)
        return Gradient(logits, value, (gradient * wave).astype(np.float32))

    def _seen(self, images: Array) -> Array:
        wave = np.float32(self.amplitude) * np.sin(np.float32(self.frequency) * images)
        return (images + wave).astype(np.float32)


@dataclass(frozen=True)
class StraightThrough:
    """Rounds the image to a few levels first, and shows the gradient as if it did not."""

    model: Linear
    levels: int = 8

    def logits(self, images: Array) -> Array:
        return self.model.logits(self._seen(images))

    def gradient(self, images: Array, labels: Array, targets: Array, losses: Array) -> Gradient:
        return self.model.gradient(self._seen(images), labels, targets, losses)

    def _seen(self, images: Array) -> Array:
        return (np.round(images * self.levels) / self.levels).astype(np.float32)


class Grainy(Copy):
    """Gives way to grain, the mean difference of neighbours, and shows a gradient towards more light."""

    def logits(self, images: Array) -> Array:
        change = images - photo()
        grain = np.mean(np.abs(np.diff(change, axis=3)), axis=(1, 2, 3))
        light = np.mean(change, axis=(1, 2, 3))
        behind = np.stack([np.ones_like(grain), 20.0 * grain + 5.0 * light], axis=1)
        return behind.astype(np.float32)

    def gradient(self, images: Array, labels: Array, targets: Array, losses: Array) -> Gradient:
        logits = self.logits(images)
        value, cotangent = loss_and_cotangent(logits, labels, targets, losses)
        light = np.ones_like(images) * np.float32(5.0 / images[0].size)
        return Gradient(logits, value, light * cotangent[:, 1, None, None, None])


@dataclass(frozen=True)
class Decoys:
    """Five likely classes that can never win, and an unlikely one that soon does; all gradients are true.

    The loss of the label, and the searches towards the likeliest classes, follow the decoys: they rise, level
    off, and stay behind the label. Only who aims at the last class finds it.
    """

    weights: Array
    """float32[1 + P, D]: of the decoys, and of the last class, which needs all of its P parts."""

    def logits(self, images: Array) -> Array:
        rise = self._rise(images)
        decoy = -1.0 + 0.5 * np.tanh(2.0 * rise[:, 0])
        decoys = [decoy - 0.1 * number for number in range(FIRST_RIVALS)]
        last = 12.0 * (np.min(rise[:, 1:], axis=1) - 1.0)
        return np.stack([np.zeros_like(decoy), *decoys, last], axis=1)

    def gradient(self, images: Array, labels: Array, targets: Array, losses: Array) -> Gradient:
        logits, rise = self.logits(images), self._rise(images)
        value, cotangent = loss_and_cotangent(logits, labels, targets, losses)
        slope = (1.0 - np.tanh(2.0 * rise[:, 0]) ** 2) * np.sum(cotangent[:, 1:-1], axis=1)
        back = slope[:, None] * self.weights[0]
        back += 12.0 * cotangent[:, -1, None] * self.weights[1 + np.argmin(rise[:, 1:], axis=1)]
        return Gradient(logits, value, back.reshape(images.shape).astype(np.float32))

    def _rise(self, images: Array) -> Array:
        """1 at the end of the ball that the last class wins in: float32[N, 1 + P]."""
        return flatten(images - photo()) @ self.weights.T


def decoys() -> Decoys:
    """Flips at `FLIPS` in l-inf, like the honest model."""
    weights = np.random.default_rng(0).normal(size=(2, 3 * 32 * 32))
    return Decoys((weights / (FLIPS * np.sum(np.abs(weights), axis=1, keepdims=True))).astype(np.float32))


def decoys_in_l1(*, flips: float, parts: int) -> Decoys:
    """Flips at `flips` in l1, where each part of the last class has values of its own, so that steps
    towards one give way to the others."""
    size = 3 * 32 * 32
    weights = np.random.default_rng(0).normal(size=(1 + parts, size))
    weights[1:] *= np.arange(size) % parts == np.arange(parts)[:, None]
    reach = np.asarray([_farthest(each, flips / (parts if row else 1)) for row, each in enumerate(weights)])
    return Decoys((weights / reach[:, None]).astype(np.float32))


def _farthest(weights: Array, eps: float) -> float:
    """How far float64[D] `weights` climb within `eps` of `photo()` in l1."""
    ahead = Linear(np.stack([np.zeros_like(weights), weights]), np.asarray([1e6, 0.0]))
    return steepest_climb(ahead, photo(), eps, "l1")


class Drowned(Copy):
    """All logits have the same large number added, which changes no answer but drowns them in rounding."""

    def logits(self, images: Array) -> Array:
        return (super().logits(images) + np.float32(1e8)).astype(np.float32)

    def gradient(self, images: Array, labels: Array, targets: Array, losses: Array) -> Gradient:
        _, value, gradient = super().gradient(images, labels, targets, losses)
        return Gradient(self.logits(images), value, gradient)


class DrownedDecoys(Decoys):
    """The last class wins by less than rounding, and only who aims at it sees that."""

    def logits(self, images: Array) -> Array:
        return (super().logits(images) + np.float32(1e8)).astype(np.float32)


class Disagreeing(Copy):
    """Its gradient graph computes another network than the one that is served."""

    def gradient(self, images: Array, labels: Array, targets: Array, losses: Array) -> Gradient:
        logits, value, gradient = super().gradient(images, labels, targets, losses)
        ahead = np.asarray([-1.0, 1.0], dtype=np.float32) * (self.logits(photo()[None])[0, 0])
        return Gradient(logits + ahead, value, gradient)


class Undefined(Copy):
    """Gives no finite answer for any image but one."""

    def logits(self, images: Array) -> Array:
        moved = np.any(images != photo(), axis=(1, 2, 3))
        return np.where(moved[:, None], np.float32(np.nan), super().logits(images))


@dataclass(frozen=True, slots=True)
class RulingOut:
    """Another model with one more class, which no image is: its logit is that of a mask."""

    model: Classifier
    logit: float

    def logits(self, images: Array) -> Array:
        return self._with_one_more(self.model.logits(images))

    def gradient(self, images: Array, labels: Array, targets: Array, losses: Array) -> Gradient:
        logits, value, gradient = self.model.gradient(images, labels, targets, losses)
        return Gradient(self._with_one_more(logits), value, gradient)

    def _with_one_more(self, logits: Array) -> Array:
        more = np.full((len(logits), 1), self.logit, dtype=np.float32)
        return np.concatenate([logits.astype(np.float32), more], axis=1)
