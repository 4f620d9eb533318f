"""Small classifiers with closed-form gradients, on NumPy and torch, and models built to fool an attack."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from probes.arrays import Array, flatten, namespace
from probes.classifier import Classifier, Gradient
from probes.losses import loss_and_cotangent
from probes.threat import Norm

SHAPE = (3, 4, 4)

Convert = Callable[[Array], Array]
"""Turns NumPy arrays into arrays of the library under test."""


def to_torch(array: Array) -> Array:
    """A copy as a torch tensor."""
    import torch

    return torch.from_numpy(np.array(array))


@dataclass(frozen=True)
class Linear:
    """logits = W x + b, with weights [K, D]."""

    weights: Array
    bias: Array

    def logits(self, images: Array) -> Array:
        return flatten(images) @ self.weights.T + self.bias

    def gradient(self, images: Array, labels: Array, targets: Array, losses: Array) -> Gradient:
        logits = self.logits(images)
        value, cotangent = loss_and_cotangent(logits, labels, targets, losses)
        return Gradient(logits, value, namespace(images).reshape(cotangent @ self.weights, images.shape))


@dataclass(frozen=True)
class TwoLayer:
    """logits = V relu(W x + b), with W [H, D] and V [K, H]."""

    first: Array
    bias: Array
    second: Array

    def logits(self, images: Array) -> Array:
        return self._hidden(images) @ self.second.T

    def gradient(self, images: Array, labels: Array, targets: Array, losses: Array) -> Gradient:
        xp = namespace(images)
        hidden = self._hidden(images)
        logits = hidden @ self.second.T
        value, cotangent = loss_and_cotangent(logits, labels, targets, losses)
        back = xp.where(hidden > 0, cotangent @ self.second, xp.zeros_like(hidden)) @ self.first
        return Gradient(logits, value, xp.reshape(back, images.shape))

    def _hidden(self, images: Array) -> Array:
        before = flatten(images) @ self.first.T + self.bias
        return namespace(images).clip(before, min=0.0)


@dataclass(frozen=True)
class OneByOne:
    """Asks a model about one image at a time: matrix products of other batch sizes round differently."""

    model: Classifier

    def logits(self, images: Array) -> Array:
        parts = [self.model.logits(images[row : row + 1]) for row in range(images.shape[0])]
        return namespace(images).concat(parts)

    def gradient(self, images: Array, labels: Array, targets: Array, losses: Array) -> Gradient:
        ones = [slice(row, row + 1) for row in range(images.shape[0])]
        parts = [self.model.gradient(images[one], labels[one], targets[one], losses[one]) for one in ones]
        return Gradient(*(namespace(images).concat(arrays) for arrays in zip(*parts, strict=True)))


@dataclass(frozen=True)
class Scaled:
    """Logits times a factor: a factor of 1e4 saturates cross-entropy until its gradient underflows."""

    model: Classifier
    factor: float

    def logits(self, images: Array) -> Array:
        return self.model.logits(images) * self.factor

    def gradient(self, images: Array, labels: Array, targets: Array, losses: Array) -> Gradient:
        xp = namespace(images)
        logits = self.logits(images)
        value, cotangent = loss_and_cotangent(logits, labels, targets, losses)
        total = xp.zeros_like(images)
        for index in range(logits.shape[1]):
            total = total + cotangent[:, index, None, None, None] * self._row(images, index)
        return Gradient(logits, value, total)

    def _row(self, images: Array, index: int) -> Array:
        assert isinstance(self.model, Linear)
        return namespace(images).reshape(self.model.weights[index], images.shape[1:])[None] * self.factor


@dataclass(frozen=True)
class Quantised:
    """Rounds the image to a few levels first, so that its true gradient is zero almost everywhere."""

    model: Classifier
    levels: int = 8

    def logits(self, images: Array) -> Array:
        return self.model.logits(np.round(images * self.levels) / np.float32(self.levels))

    def gradient(self, images: Array, labels: Array, targets: Array, losses: Array) -> Gradient:
        logits = self.logits(images)
        value, _ = loss_and_cotangent(logits, labels, targets, losses)
        return Gradient(logits, value, np.zeros_like(images))


class Randomised:
    """Adds noise to its logits, and to its gradient unless that is `honest`."""

    def __init__(self, model: Classifier, *, scale: float = 0.5, honest: bool = False) -> None:
        self._model, self._scale, self._honest = model, scale, honest
        self._generator = np.random.default_rng(0)

    def logits(self, images: Array) -> Array:
        logits = self._model.logits(images)
        return logits + self._noise(logits.shape)

    def gradient(self, images: Array, labels: Array, targets: Array, losses: Array) -> Gradient:
        logits, value, gradient = self._model.gradient(images, labels, targets, losses)
        shown = gradient if self._honest else self._noise(gradient.shape)
        return Gradient(logits + self._noise(logits.shape), value, shown)

    def _noise(self, shape: Any) -> Array:
        return self._generator.normal(scale=self._scale, size=shape).astype(np.float32)


def on(convert: Convert, model: Linear | TwoLayer) -> Linear | TwoLayer:
    """`model` over arrays of the library under test."""
    if isinstance(model, Linear):
        return Linear(convert(model.weights), convert(model.bias))
    return TwoLayer(convert(model.first), convert(model.bias), convert(model.second))


def predicted(model: Classifier, batch: Array) -> Array:
    """The classes int64[N] that `model` answers."""
    return np.argmax(model.logits(batch), axis=1)


def two_class(*, margin: float = 1.0, seed: int = 0) -> Linear:
    """A linear model of two classes that is surer of class 0 by `margin` at the grey image."""
    generator = np.random.default_rng(seed)
    weights = generator.normal(size=(2, 48)).astype(np.float32)
    middle = weights @ np.full((48,), 0.5, dtype=np.float32)
    return Linear(weights, np.asarray([margin, 0.0], dtype=np.float32) - middle)


def many_class(*, classes: int = 5, seed: int = 0) -> Linear:
    """A linear model with random weights."""
    generator = np.random.default_rng(seed)
    weights = generator.normal(size=(classes, 48)).astype(np.float32)
    return Linear(weights, generator.normal(size=(classes,)).astype(np.float32))


def network(*, classes: int = 5, hidden: int = 24, seed: int = 0) -> TwoLayer:
    """A network with random weights."""
    generator = np.random.default_rng(seed)
    return TwoLayer(
        first=(generator.normal(size=(hidden, 48)) / 7.0).astype(np.float32),
        bias=generator.normal(size=(hidden,)).astype(np.float32) * np.float32(0.1),
        second=(generator.normal(size=(classes, hidden)) / 5.0).astype(np.float32),
    )


def steepest_climb(model: Linear, image: Array, eps: float, norm: Norm) -> float:
    """How far a two-class linear model's margin loss can climb within eps of `image` [C, H, W] and [0, 1], in
    closed form.

    In l1 the values with the largest weights go to their edge of the box first. In l2 only where the ball
    meets no edge that the image does not lie on.
    """
    label = int(predicted(model, image[None])[0])
    wanted = (model.weights[1 - label] - model.weights[label]).astype(np.float64)
    pixels = image.astype(np.float64).ravel()
    room, slopes = np.where(wanted > 0, 1.0 - pixels, pixels), np.abs(wanted)
    if norm == "linf":
        return float(slopes @ np.minimum(room, eps))
    if norm == "l2":
        assert eps <= room[room > 0].min()
        return eps * float(np.linalg.norm(slopes[room > 0]))
    steepest = np.argsort(-slopes)
    spent = np.minimum(np.cumsum(room[steepest]), eps)
    return float(slopes[steepest] @ np.diff(spent, prepend=0.0))


def linear_distance(model: Linear, image: Array, norm: Norm) -> float:
    """The smallest eps at which a two-class linear model flips, by bisection of `steepest_climb`."""
    logits = model.logits(image[None]).astype(np.float64)[0]
    low, high = 0.0, float(image.size) if norm == "l1" else 0.4
    for _ in range(60):
        middle = (low + high) / 2.0
        short = steepest_climb(model, image, middle, norm) < logits.max() - logits.min()
        low, high = (middle, high) if short else (low, middle)
    return high


def grey() -> Array:
    """An image in the middle of the box, on the 8-bit grid: float32[3, 4, 4]."""
    return np.full(SHAPE, 128 / 255, dtype=np.float32)


def images(count: int, *, seed: int = 0) -> Array:
    """Random 8-bit images float32[count, 3, 4, 4]."""
    levels = np.random.default_rng(seed).integers(0, 256, size=(count, *SHAPE))
    return levels.astype(np.float32) / np.float32(255)
