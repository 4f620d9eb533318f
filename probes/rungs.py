"""What one batch of PGD climbs and what it leaves behind, for `probes.ladder`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from probes.arrays import Array, flatten
from probes.attacks.result import Step
from probes.ball import TOLERANCE
from probes.budget import Budget
from probes.classifier import Classifier
from probes.eight_bit import from_levels, round_inside
from probes.goal import CLAIMED, Goal
from probes.losses import loss_and_cotangent
from probes.objective import Evaluation
from probes.threat import Threat


class Rungs:
    """The objective: climbs each row's loss towards its target, values points by their lead, and ends the
    rungs above any example.

    The lead is the negative margin, so rows that climb different losses compare. In l1 each row's own loss
    stands beside it, by which Auto-PGD judges its steps. With `eight_bit` it answers for the 8-bit rounding
    of each point, inside the row's ball.

    Attributes:
        caught: rows int64[M] and points of those evaluations that reached the goal: float32[M, C, H, W], or
            with `eight_bit` levels uint8[M, C, H, W].
        ceiling: every ball from this radius on holds an example.
    """

    def __init__(
        self,
        classifier: Classifier,
        *,
        goal: Goal,
        threat: Threat,
        clean: Array,
        eps: Array,
        losses: Array,
        targets: Array,
        eight_bit: bool,
        budget: Budget,
    ) -> None:
        self.caught: list[tuple[Array, Array]] = []
        self.ceiling = np.inf
        self.eight_bit = eight_bit
        self._classifier = classifier
        self._goal = goal
        self._threat = threat
        self._clean = clean
        self._eps = eps
        self._losses = losses
        self._labels = goal.labels(clean)
        self._targets = targets
        self._budget = budget

    def __call__(self, images: Array, rows: Array) -> Evaluation:
        levels, exists = self._rounded(images, rows) if self.eight_bit else (None, True)
        points = images if levels is None else from_levels(levels)
        self._budget.gradient_evaluations += len(rows)
        climbed = self._labels[rows], self._targets[rows], self._losses[rows]
        logits, _, gradient = self._classifier.gradient(points, *climbed)
        loss = None
        if self._threat.norm == "l1":
            # For Auto-PGD. Not the graph's value: of a sure model float32 hides how the cross-entropy rises.
            loss, _ = loss_and_cotangent(logits.astype(np.float64), *climbed)
        assessment = self._goal.assess(logits, lead=CLAIMED)
        reached = assessment.reached & exists
        if np.any(reached):
            sizes = self._threat.size(points[reached] - self._clean[rows[reached]])
            self.ceiling = min(self.ceiling, float(np.min(np.minimum(sizes, self._eps[rows[reached]]))))
            self.caught.append((rows[reached], points[reached] if levels is None else levels[reached]))
        done = reached | (self._eps[rows] >= self.ceiling - TOLERANCE)
        return Evaluation(-assessment.margin, gradient, done, loss)

    def _rounded(self, images: Array, rows: Array) -> tuple[Array, Array]:
        rounded = [
            round_inside(image, self._clean[row], float(self._eps[row]), self._threat.norm)
            for image, row in zip(images, rows, strict=True)
        ]
        exists = np.asarray([levels is not None for levels in rounded])
        blank = np.zeros(images.shape[1:], dtype=np.uint8)
        return np.stack([blank if levels is None else levels for levels in rounded]), exists


class Trace:
    """Watches a batch climb."""

    def __init__(self, rows: int, steps: int, on_step: Callable[[], None]) -> None:
        self.start = np.full((rows,), -np.inf, dtype=np.float32)
        self.late = self.start.copy()
        self.end = self.start.copy()
        self.taken = np.full((rows,), -1, dtype=np.int64)
        self.flat = np.zeros((rows,), dtype=np.int64)
        self._late_step = 3 * steps // 4
        self._on_step = on_step

    def __call__(self, step: Step) -> None:
        rows, lead = step.rows, step.evaluation.value
        if step.step == 0:
            self.start[rows] = lead
        self.end[rows] = np.maximum(self.end[rows], lead)
        if step.step <= self._late_step:
            self.late[rows] = self.end[rows]
        self.taken[rows] = step.step
        steepest = np.max(np.abs(flatten(step.evaluation.gradient)), axis=1)
        self.flat[rows] += ~((steepest > 0) & np.isfinite(steepest))
        self._on_step()
