"""Our search of the smallest eps: a probe of the served model, and what torch says of what it found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from benchmarks.agreement.journal import Row
from benchmarks.agreement.subject import SEED, Subject, to_numpy
from probes.arrays import Array
from probes.budget import Budget
from probes.classifier import Classifier, Gradient
from probes.probe import probe
from probes.request import ProbeRequest
from probes.threat import Norm, threat_named

_Answers = TypeVar("_Answers", Array, Tensor)
_PLACE = 2
"""Of the target among the classes of the clean image, the likeliest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """To change the answer `label`, with a `target` to that one: of one image, or int64[N] of several."""

    label: int | Tensor
    target: int | Tensor | None

    def reached(self, answers: _Answers) -> _Answers:
        """bool[N]."""
        reached: _Answers = answers != self.label if self.target is None else answers == self.target
        return reached


def search_smallest(subject: Subject, image: Tensor, *, norm: Norm, targeted: bool) -> Row:
    """The smallest eps of `image` [1, 3, H, W], as the probe reports it and as far as torch confirms it."""
    with torch.no_grad():
        order = subject.network(image)[0].argsort(descending=True).tolist()
    label, target = int(order[0]), int(order[_PLACE]) if targeted else None
    served = Recorder(subject.engine, Aim(label=label, target=target))
    report = probe(
        served,
        to_numpy(image),
        ProbeRequest(norm=norm, label=label, target=target, seed=SEED),
        trained_eps=subject.trained_eps.get(norm),
        budget=Budget(),
    )
    reported = report.minimal_eps.flipped
    return {
        "label": label,
        "target": target,
        "held": report.minimal_eps.held,
        "flipped": reported,
        "confirmed": None if reported is None else _confirmed(subject, served, image, reported, norm),
        "gradient_evaluations": served.gradients,
        "forward_evaluations": served.forwards,
    }


class Recorder:
    """A classifier that counts the passes it is asked for, one an image, and keeps every image for which its
    answer is what `aim` wants."""

    def __init__(self, classifier: Classifier, aim: Aim) -> None:
        self._classifier, self.aim = classifier, aim
        self.gradients = 0
        self.forwards = 0
        """Those without a gradient."""
        self.examples: list[Array] = []
        """float32[C, H, W] each."""

    def logits(self, images: Array) -> Array:
        logits = self._classifier.logits(images)
        self.forwards += len(images)
        self._keep(images, logits)
        return logits

    def gradient(self, images: Array, labels: Array, targets: Array, losses: Array) -> Gradient:
        found = self._classifier.gradient(images, labels, targets, losses)
        self.gradients += len(images)
        self._keep(images, found.logits)
        return found

    def _keep(self, images: Array, logits: Array) -> None:
        self.examples.extend(np.array(images[self.aim.reached(logits.argmax(axis=1))]))


def _confirmed(
    subject: Subject, served: Recorder, image: Tensor, reported: float, norm: Norm
) -> float | None:
    """The distance of the nearest example that is one for torch too; none is nearer than the reported one."""
    examples = torch.from_numpy(np.stack(served.examples))
    sizes = threat_named(norm).size(examples - image)
    counts = served.aim.reached(subject.answers(examples)) & (sizes >= reported * (1 - 1e-6))
    return float(sizes[counts].min()) if bool(counts.any()) else None
