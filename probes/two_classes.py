"""Models of two classes, which are attacked by the margin whatever loss is asked for.

With two classes the gradient of the cross-entropy is a positive multiple of the margin's, and attacks take
steps of a given length. But where a model is sure by a hundred logits or more, float32 makes that multiple
zero: then nothing would be attacked, and nothing could hold.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from probes.arrays import Array
from probes.classifier import Classifier, Gradient
from probes.losses import Loss
from probes.request import ProbeRequest


@dataclass(frozen=True, slots=True)
class _ByMargin:
    """`classifier` with the gradient of the margin in place of any other loss's."""

    classifier: Classifier

    def logits(self, images: Array) -> Array:
        return self.classifier.logits(images)

    def gradient(self, images: Array, labels: Array, targets: Array, losses: Array) -> Gradient:
        return self.classifier.gradient(images, labels, targets, np.full_like(losses, int(Loss.MARGIN)))


def by_margin(classifier: Classifier, request: ProbeRequest) -> tuple[Classifier, ProbeRequest]:
    """A classifier of two classes, over NumPy arrays, and a request about it, both with the margin as their
    only loss. A third class, to be aimed at by itself, there is none."""
    return _ByMargin(classifier), dataclasses.replace(request, loss="margin")
