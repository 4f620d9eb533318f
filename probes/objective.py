"""What an attack climbs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from probes.arrays import Array, namespace
from probes.budget import Budget
from probes.classifier import Classifier
from probes.losses import Loss, loss_and_cotangent


class Evaluation(NamedTuple):
    """An objective at a batch of points."""

    value: Array
    """float32[N]: the larger, the worse the point."""
    gradient: Array
    """The direction to climb in, of the images' shape: d climbed / d images."""
    adversarial: Array
    """bool[N]: whether the attack's goal is reached at this point."""
    loss: Array | None = None
    """float[N], what the gradient is of where that is not `value`."""

    @property
    def climbed(self) -> Array:
        """float[N]: what rises along the gradient."""
        return self.value if self.loss is None else self.loss


class Objective(Protocol):
    """A function of images to be climbed.

    `rows` int64[N] says which samples of the attack's batch the images belong to: a separable objective (each
    value depends on its own image only) may be asked about a few of them, in any order.
    """

    def __call__(self, images: Array, rows: Array) -> Evaluation: ...


class Answer(NamedTuple):
    """An objective at a batch of points, without its gradient."""

    value: Array
    """float32[N], to be climbed."""
    adversarial: Array
    """bool[N]: whether the attack's goal is reached at this point."""


class Query(Protocol):
    """What an attack without gradients asks; `rows` as for an `Objective`. Always separable."""

    def __call__(self, images: Array, rows: Array) -> Answer: ...


@dataclass(slots=True)
class ClassifierObjective:
    """A classifier with a loss: to lose `labels`, or to reach `targets` where they are not -1.

    The object itself is an `Objective`, its method `query` a `Query`.
    labels, targets and losses are int64[N] as in `probes.losses.loss_and_cotangent`. Separable.
    """

    classifier: Classifier
    labels: Array
    targets: Array
    losses: Array
    budget: Budget

    def __call__(self, images: Array, rows: Array) -> Evaluation:
        labels, targets = self.labels[rows], self.targets[rows]
        self.budget.gradient_evaluations += images.shape[0]
        logits, value, gradient = self.classifier.gradient(images, labels, targets, self.losses[rows])
        return Evaluation(value, gradient, goal_reached(logits, labels, targets))

    def query(self, images: Array, rows: Array) -> Answer:
        """The same from the logits alone: a forward evaluation, no gradient."""
        labels, targets = self.labels[rows], self.targets[rows]
        self.budget.forward_evaluations += images.shape[0]
        logits = self.classifier.logits(images)
        value, _ = loss_and_cotangent(logits, labels, targets, self.losses[rows])
        return Answer(value, goal_reached(logits, labels, targets))


def goal_reached(logits: Array, labels: Array, targets: Array) -> Array:
    """bool[N]: the prediction is the target, or, without a target, no longer the label."""
    xp = namespace(logits)
    predicted = xp.argmax(logits, axis=1)
    return xp.where(targets >= 0, predicted == targets, predicted != labels)


def untargeted(
    classifier: Classifier, labels: Array, *, loss: Loss = Loss.CROSS_ENTROPY, budget: Budget | None = None
) -> ClassifierObjective:
    """The usual objective: make `classifier` lose `labels` int64[N]."""
    xp = namespace(labels)
    return ClassifierObjective(
        classifier=classifier,
        labels=labels,
        targets=xp.full_like(labels, -1),
        losses=xp.full_like(labels, int(loss)),
        budget=budget or Budget(),
    )
