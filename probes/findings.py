"""What the served classifier itself says about the points that attacks found."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from probes.arrays import Array
from probes.ball import TOLERANCE, distances, inside
from probes.budget import Budget
from probes.classifier import Classifier
from probes.eight_bit import eight_bit_distance, from_levels, round_inside, to_levels
from probes.goal import Goal
from probes.prediction import Prediction, predictions
from probes.threat import Norm

_BATCH_VALUES = 1_200_000
_BATCH_ROWS = 64


def batch_rows(image: Array) -> int:
    """How many copies of `image` [C, H, W] go through the classifier at once: bounded, because memory is."""
    return max(1, min(_BATCH_ROWS, _BATCH_VALUES // int(math.prod(image.shape))))


@dataclass(frozen=True, slots=True)
class Example:
    """An image that reaches the goal, confirmed by the served classifier.

    `image` is float32[C, H, W] in [0, 1], `eps` its measured distance from the clean image.
    """

    image: Array
    eps: float
    prediction: Prediction
    eight_bit: bool


@dataclass(frozen=True, slots=True)
class Seen:
    """Any point that the served classifier has judged: where, what it said, and how far the goal was."""

    eps: float
    prediction: Prediction
    margin: float
    reached: bool
    """The goal, by more than rounding; of the clean image, by what is answered."""


class Judged(NamedTuple):
    """What the served classifier said about some points."""

    reached: Array
    """bool[M]: the goal is reached there."""
    margins: Array
    """float32[M]."""
    logits: Array
    """float32[M, K]."""


class Findings:
    """Collects points around one clean image, each judged by a forward pass of the served classifier.

    A point found at one distance is admissible in every larger ball, so what is known about a ball is the
    best of all points within it: that makes every curve drawn from here monotone.

    Args:
        clean: float32[C, H, W] in [0, 1].
    """

    def __init__(
        self, classifier: Classifier, clean: Array, *, goal: Goal, norm: Norm, budget: Budget
    ) -> None:
        self.clean = clean
        self.goal = goal
        self.norm: Norm = norm
        self.seen: list[Seen] = []
        self.unconfirmed: list[float] = []
        """Where an attack claimed an example and the served classifier saw none, by distance."""
        self.not_finite = 0
        self._smallest: Example | None = None
        self._smallest_eight_bit: Example | None = None
        self._nearest_undecided = math.inf
        self._nearest_undecided_eight_bit = math.inf
        self._classifier = classifier
        self._budget = budget

    def aside(self) -> Findings:
        """New, empty findings about the same image, for what must not mix with these."""
        return Findings(self._classifier, self.clean, goal=self.goal, norm=self.norm, budget=self._budget)

    def logits(self, images: Array) -> Array:
        """Logits [M, K] of the served classifier, in bounded batches. Counted, never refused: confirming a
        flip is worth one forward pass after the deadline."""
        rows = batch_rows(self.clean)
        self._budget.forward_evaluations += len(images)
        parts = [
            self._classifier.logits(images[start : start + rows]) for start in range(0, len(images), rows)
        ]
        return np.concatenate(parts)

    def judge(self, points: Array, radii: Array, *, claimed: bool = False) -> Judged:
        """Records points float32[M, C, H, W], each moved strictly inside its ball, and their roundings to 8
        bits.

        Args:
            radii: float64[M].
            claimed: an attack says that all of these reach the goal, so those that do not are remembered
                against it.

        Returns:
            The answers on floats.
        """
        points = inside(points, self.clean, radii, self.norm)
        sizes = distances(points, self.clean, self.norm)
        judged = self._record(points, sizes, eight_bit=False)
        if claimed:
            self.unconfirmed += sizes[~judged.reached].tolist()
        self.judge_roundings(points[judged.reached], radii[judged.reached])
        return judged

    def judge_roundings(self, points: Array, radii: Array) -> None:
        """Records the roundings to 8 bits of points float32[M, C, H, W], each inside its ball."""
        if rounded := self._roundings(points, radii):
            self.judge_levels(np.stack(rounded))

    def judge_grown(self, image: Array, radii: Sequence[float]) -> None:
        """Records the perturbation of `image` float32[C, H, W], grown to each of the ascending radii and
        rounded there, while there is time."""
        delta = image.astype(np.float64) - self.clean
        size = float(distances(image[None], self.clean, self.norm)[0])
        grown = (np.clip(self.clean + delta * (radius / size), 0.0, 1.0) for radius in radii)
        rounded = self._roundings((point.astype(np.float32) for point in grown), radii)
        # The nearest first, in case the time is up before the others.
        different = list({levels.tobytes(): levels for levels in rounded}.values())
        rows = batch_rows(self.clean)
        for first in range(0, len(different), rows):
            if self._budget.stop():
                return
            self.judge_levels(np.stack(different[first : first + rows]))

    def judge_levels(self, levels: Array) -> Judged:
        """Records 8-bit images uint8[M, C, H, W]."""
        sizes = np.asarray([eight_bit_distance(one, self.clean, self.norm) for one in levels])
        return self._record(from_levels(levels), sizes, eight_bit=True)

    def record_clean(self, logits: Array) -> None:
        """Records the clean image, whose logits [1, K] are known, at eps 0; misclassified it is an example
        itself. A tie counts by what is answered: nothing may hold that is answered otherwise already."""
        prediction = predictions(logits)[0]
        margin, reached = float(self.goal.assess(logits).margin[0]), self.goal.reached_by(prediction.index)
        self.seen.append(Seen(0.0, prediction, margin, reached))
        if reached:
            self._keep(Example(self.clean, 0.0, prediction, False))
            self.judge_levels(to_levels(self.clean)[None])

    def smallest(self, *, eight_bit: bool = False) -> Example | None:
        """The example nearest to the clean image, of all or of those on the 8-bit grid."""
        return self._smallest_eight_bit if eight_bit else self._smallest

    def flipped(self, eps: float, *, eight_bit: bool = False) -> bool:
        """Whether an example lies within `eps`."""
        example = self.smallest(eight_bit=eight_bit)
        return example is not None and example.eps <= eps + TOLERANCE

    def undecided(self, eps: float, *, eight_bit: bool = False) -> bool:
        """Whether no example lies within `eps`, but a point that is given a class which would flip, by no
        more than rounding."""
        nearest = self._nearest_undecided_eight_bit if eight_bit else self._nearest_undecided
        return not self.flipped(eps, eight_bit=eight_bit) and nearest <= eps + TOLERANCE

    def denied(self, eps: float) -> int:
        """How many examples that an attack claimed within `eps` the served classifier did not confirm."""
        return sum(claimed <= eps + TOLERANCE for claimed in self.unconfirmed)

    def worst(self, eps: float) -> Seen:
        """The point within `eps` that is nearest to the goal."""
        within = (seen for seen in self.seen if seen.eps <= eps + TOLERANCE)
        return min(within, key=lambda seen: seen.margin)

    def _roundings(self, points: Iterable[Array], radii: Iterable[float]) -> list[Array]:
        return [
            levels
            for point, radius in zip(points, radii, strict=True)
            if (levels := round_inside(point, self.clean, float(radius), self.norm)) is not None
        ]

    def _record(self, points: Array, sizes: Array, *, eight_bit: bool) -> Judged:
        logits = self.logits(points)
        margins, reached, finite = self.goal.assess(logits)
        self.not_finite += int(np.sum(~finite))
        for row in np.flatnonzero(finite):
            prediction, size = predictions(logits[row : row + 1])[0], float(sizes[row])
            self.seen.append(Seen(size, prediction, float(margins[row]), bool(reached[row])))
            if reached[row]:
                self._keep(Example(points[row].copy(), size, prediction, eight_bit))
            elif self.goal.reached_by(prediction.index):
                self._nearest_undecided = min(self._nearest_undecided, size)
                if eight_bit:
                    self._nearest_undecided_eight_bit = min(self._nearest_undecided_eight_bit, size)
        return Judged(reached, margins, logits)

    def _keep(self, example: Example) -> None:
        if self._smallest is None or example.eps < self._smallest.eps:
            self._smallest = example
        if example.eight_bit and (
            self._smallest_eight_bit is None or example.eps < self._smallest_eight_bit.eps
        ):
            self._smallest_eight_bit = example
