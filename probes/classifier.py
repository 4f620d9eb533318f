"""What an attack asks of a classifier. Engines and torch modules both answer it."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from probes.arrays import Array


class Gradient(NamedTuple):
    """Answer of one forward and backward pass."""

    logits: Array
    """float32[N, K]."""
    value: Array
    """float32[N], the loss, to be climbed."""
    gradient: Array
    """float32[N, C, H, W], d value / d images."""


class Classifier(Protocol):
    """A classifier with input gradients: images float32[N, C, H, W] in [0, 1] to logits float32[N, K]."""

    def logits(self, images: Array) -> Array:
        """Logits float32[N, K]."""

    def gradient(self, images: Array, labels: Array, targets: Array, losses: Array) -> Gradient:
        """Logits, loss and input gradient; arguments as in `probes.losses.loss_and_cotangent`."""
