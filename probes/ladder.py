"""PGD on one image at several eps and restarts in one batch, judged by the margin.

In l1 it is Auto-PGD: steps of one size that suit a ball at first pass by its examples later on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from probes.arrays import Array
from probes.attacks.apgd import apgd
from probes.attacks.pgd import pgd
from probes.budget import Budget
from probes.classifier import Classifier, Gradient
from probes.findings import Findings, batch_rows
from probes.goal import Goal
from probes.losses import UNTARGETED, Loss
from probes.rungs import Rungs, Trace
from probes.threat import Threat

ROUNDING = 1e-7
"""The attack's ball is smaller by this much, so that its float32 points lie inside the true one."""


class Aim(NamedTuple):
    """What one run climbs: a loss, towards the class `target`, or away from the label where that is -1."""

    loss: Loss
    target: int = UNTARGETED


def aims(losses: Sequence[Loss], goal: Goal, rivals: Sequence[int]) -> tuple[Aim, ...]:
    """What the restarts climb, in turn: each loss for the goal, then the margin towards each of `rivals` (the
    multi-targeted attack of Gowal et al., arXiv 1910.09338)."""
    target = UNTARGETED if goal.target is None else goal.target
    return (
        *(Aim(loss, target) for loss in losses),
        *(Aim(Loss.MARGIN, rival) for rival in rivals),
    )


class Climb(NamedTuple):
    """How each row of one batch climbed. The lead is the negative margin: positive where the goal is
    reached."""

    eps: Array
    """float64[M]."""
    completed: Array
    """bool[M]: took all its steps without reaching the goal."""
    start: Array
    """Lead at the first point: float32[M]."""
    late: Array
    """Best lead within the first three quarters of the steps: float32[M]."""
    end: Array
    """Best lead: float32[M]."""
    evaluations: Array
    """int64[M]."""
    flat: Array
    """Those whose gradient was zero everywhere or not finite: int64[M]."""


class Ladder:
    """Attacks the findings' clean image, a rung for each eps, and hands what it finds to the findings.

    An example at one eps is admissible at every larger one, so it ends all rungs above it at once; every rung
    takes its restarts side by side in the batch. The point that is kept is the one with the worst margin,
    whatever was climbed, so that restarts with different aims compare.

    Args:
        aims: what the restarts climb, in turn. Whatever it is, what counts as reached is the findings' goal.
        restarts: the runs at one eps that make an attack.
        on_step: called after every evaluation of a batch.
    """

    def __init__(
        self,
        classifier: Classifier,
        findings: Findings,
        *,
        threat: Threat,
        aims: Sequence[Aim],
        restarts: int,
        seed: int,
        budget: Budget,
        on_step: Callable[[], None],
    ) -> None:
        self.classifier = classifier
        self.findings = findings
        self.threat = threat
        self.restarts = restarts
        self.budget = budget
        self.seed = seed
        self.on_step = on_step
        self.climbs: list[Climb] = []
        self.completed: dict[float, int] = {}
        """How many runs took all their steps in vain, by eps."""
        self.completed_eight_bit: set[float] = set()
        """The eps at which a run on the 8-bit grid took all its steps in vain."""
        self.looked: set[float] = set()
        """The eps that a few steps were taken at."""
        self.served_margins: dict[float, float] = {}
        """What the served classifier says of the worst point of the attack, by eps."""
        self._aims = aims

    def gradient(self, loss: Loss) -> Gradient:
        """One forward and backward pass at the clean image."""
        clean, goal = self.findings.clean[None], self.findings.goal
        self.budget.gradient_evaluations += 1
        losses = np.full((1,), int(loss), dtype=np.int64)
        return self.classifier.gradient(clean, goal.labels(clean), goal.targets(clean), losses)

    def tested(self) -> list[float]:
        """The eps at which all runs of an attack took all their steps and found nothing, ascending."""
        return sorted(eps for eps, count in self.completed.items() if count >= self.restarts)

    def climb(
        self,
        restarts: Mapping[float, int],
        *,
        steps: int,
        start: Array | None = None,
        first_restart: int = 0,
        eight_bit: bool = False,
        counts: bool = True,
        findings: Findings | None = None,
    ) -> None:
        """One PGD run for each eps and restart.

        Args:
            restarts: how many, by eps.
            start: float32[C, H, W], where restart 0 starts (projected into each ball); the clean image
                without it. All other restarts start from noise, the same for every eps up to its size.
            first_restart: number of the first restart, which keys its noise and picks its aim.
            eight_bit: evaluate the 8-bit roundings of the points, inside the ball, instead of the points.
            counts: whether a run that finds nothing was an attack in vain.
            findings: where examples go, if not to the ladder's own.
        """
        runs = sorted(
            (restart, eps)
            for eps, count in restarts.items()
            for restart in range(first_restart, first_restart + count)
        )
        chunk = batch_rows(self.findings.clean)
        target = self.findings if findings is None else findings
        for first in range(0, len(runs), chunk):
            open_runs = [
                run for run in runs[first : first + chunk] if not target.flipped(run[1], eight_bit=eight_bit)
            ]
            if not open_runs or self.budget.stop():
                continue
            climb = self._batch(open_runs, steps=steps, start=start, eight_bit=eight_bit, findings=target)
            if target is self.findings and eight_bit:
                self.completed_eight_bit.update(climb.eps[climb.completed].tolist())
            elif target is self.findings:
                self.climbs.append(climb)
                for eps in climb.eps[climb.completed]:
                    if target.flipped(eps) or not counts:
                        continue
                    self.completed[float(eps)] = self.completed.get(float(eps), 0) + 1

    def look(self, radii: Sequence[float], *, steps: int) -> None:
        """A few steps at each radius, for a curve: no attack in vain."""
        self.looked.update(radii)
        self.climb(dict.fromkeys(radii, 1), steps=steps, counts=False)

    def attacked_in_vain(self, eps: float) -> bool:
        """Whether this ball, or one that it lies in and that nothing else found an example in, was."""
        return any(eps <= done and not self.findings.flipped(done) for done in self.tested())

    def attacked_on_the_grid(self, eps: float) -> bool:
        """Whether this ball, or one that it lies in, was attacked in vain on the 8-bit grid, or on floats."""
        return self.attacked_in_vain(eps) or any(
            eps <= done and not self.findings.flipped(done, eight_bit=True)
            for done in self.completed_eight_bit
        )

    def _batch(
        self,
        runs: Sequence[tuple[int, float]],
        *,
        steps: int,
        start: Array | None,
        eight_bit: bool,
        findings: Findings,
    ) -> Climb:
        restarts = np.asarray([run[0] for run in runs], dtype=np.int64)
        eps = np.asarray([run[1] for run in runs])
        radii = np.maximum(eps * (1.0 - ROUNDING) - ROUNDING, 0.0).astype(np.float32)
        images = np.repeat(findings.clean[None], len(runs), axis=0)
        aims = [self._aims[restart % len(self._aims)] for restart in restarts]
        rungs = Rungs(
            self.classifier,
            goal=findings.goal,
            threat=self.threat,
            clean=images,
            eps=eps,
            losses=np.asarray([int(aim.loss) for aim in aims], dtype=np.int64),
            targets=np.asarray([aim.target for aim in aims], dtype=np.int64),
            eight_bit=eight_bit,
            budget=self.budget,
        )
        trace = Trace(len(runs), steps, self.on_step)
        attack = apgd if self.threat.norm == "l1" else pgd
        result = attack(
            rungs,
            images,
            threat=self.threat,
            eps=radii,
            steps=steps,
            start=self._starts(images, radii, restarts, start),
            early_stop=True,
            budget=self.budget,
            on_step=trace,
        )
        self._hand_over(rungs, result.images, result.value, eps, findings)
        return Climb(
            eps=eps,
            completed=(trace.taken == steps) & (eps < rungs.ceiling),
            start=trace.start,
            late=trace.late,
            end=trace.end,
            evaluations=trace.taken + 1,
            flat=trace.flat,
        )

    def _starts(self, images: Array, radii: Array, restarts: Array, start: Array | None) -> Array:
        points = images.copy()
        if start is not None:
            points[restarts == 0] = start
        noisy = restarts > 0
        if np.any(noisy):
            # Keyed by the restart alone, so that every eps starts in the same direction.
            noise = self.threat.random_start(
                images[noisy], radii[noisy], seed=self.seed, samples=restarts[noisy], restart=0
            )
            points[noisy] = np.clip(images[noisy] + noise, 0.0, 1.0)
        return points

    def _hand_over(self, rungs: Rungs, images: Array, values: Array, eps: Array, findings: Findings) -> None:
        if rungs.caught:
            rows = np.concatenate([rows for rows, _ in rungs.caught])
            points = np.concatenate([points for _, points in rungs.caught])
            if rungs.eight_bit:
                findings.judge_levels(points)
            else:
                findings.judge(points, eps[rows], claimed=True)
        held = [
            _worst_row(eps, values, one)
            for one in np.unique(eps[(eps < rungs.ceiling) & np.isfinite(values)])
        ]
        if held and rungs.eight_bit:
            findings.judge_roundings(images[held], eps[held])
        elif held:
            margins = findings.judge(images[held], eps[held]).margins
            if findings is self.findings:
                for one, margin in zip(eps[held].tolist(), margins.tolist(), strict=True):
                    self.served_margins[one] = min(margin, self.served_margins.get(one, np.inf))


def _worst_row(eps: Array, values: Array, one: float) -> int:
    rows = np.flatnonzero(eps == one)
    return int(rows[np.argmax(values[rows])])
