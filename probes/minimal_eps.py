"""The search for the smallest eps that flips, by bracketing."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from probes.arrays import Array
from probes.findings import Findings
from probes.ladder import Ladder
from probes.threat import Norm, dual_norm

FIRST_RUNGS = (0.5, 0.8, 1.02, 1.4)
"""Where the first batch looks, in multiples of the linear estimate; 1.02 is just beyond it."""
INNER_RUNGS = 4
"""Rungs between the two ends of the bracket in each round."""
NARROWINGS = 4
FULL_TESTS = 3
RESOLUTION = 0.02
"""The search ends when the bracket is narrower than this part of its upper end."""
EIGHT_BIT_RUNGS = 4
EIGHT_BIT_STEPS = 10


class Bracket(NamedTuple):
    """`held`: the largest eps that was attacked in vain; `flipped`: the distance of the nearest example."""

    held: float | None
    flipped: float | None


def bracket(ladder: Ladder, findings: Findings) -> Bracket:
    """What is known so far. The clean image alone makes `held` 0, unless it reaches the goal itself."""
    example = findings.smallest()
    flipped = None if example is None else example.eps
    held = [eps for eps in (0.0, *ladder.tested()) if flipped is None or eps < flipped]
    return Bracket(max(held, default=None), flipped)


def linear_estimate(margin: float, gradient: Array, norm: Norm) -> float:
    """Where a linear model with this margin and margin gradient [1, C, H, W] would flip; inf without a
    gradient.

    The distance of a hyperplane is the margin over the dual norm of its gradient (Moosavi-Dezfooli et al.,
    arXiv 1511.04599, section 2).
    """
    slope = dual_norm(gradient, norm)
    return margin / slope if math.isfinite(slope) and slope > 0 else math.inf


def search(
    ladder: Ladder, *, estimate: float, max_eps: float, verdict_eps: float, steps: int, restarts: int
) -> None:
    """Narrows the bracket up to `max_eps`, and attacks its lower end and `verdict_eps` with all restarts.

    One restart per rung finds the region; every later round starts from the nearest example so far, pulled
    into each smaller ball, which is why a few rungs and rounds are enough. What only a single restart failed
    at is then attacked with all of them, and an example found there reopens the search.
    """
    findings = ladder.findings
    ladder.climb(_first(estimate, max_eps, verdict_eps), restarts=1, steps=steps)
    narrowings, full_tests = NARROWINGS, FULL_TESTS
    while not ladder.budget.stop():
        held, flipped = bracket(ladder, findings)
        example = findings.smallest()
        wide = flipped is not None and flipped - (held or 0.0) > RESOLUTION * flipped
        if wide and narrowings and example is not None:
            narrowings -= 1
            inner = np.linspace(held or 0.0, example.eps, INNER_RUNGS + 2)[1:-1]
            ladder.climb([float(eps) for eps in inner], restarts=1, steps=steps, start=example.image)
            continue
        claims = {eps for eps in (held, verdict_eps) if eps and not findings.flipped(eps)}
        pending = sorted(claims - set(ladder.tested(restarts)))
        if not pending or not full_tests:
            return
        full_tests -= 1
        narrowings = max(narrowings, 1)
        ladder.climb(pending, restarts=restarts, steps=steps)


def search_eight_bit(ladder: Ladder, *, max_eps: float, steps: int) -> None:
    """Looks for the nearest 8-bit example in the balls just around the nearest example on floats."""
    example = ladder.findings.smallest()
    if example is None or example.eight_bit:
        return
    rungs = [eps for eps in _eight_bit_rungs(example.eps, ladder.threat.norm) if eps <= max_eps]
    ladder.climb(rungs, restarts=1, steps=min(steps, EIGHT_BIT_STEPS), start=example.image, eight_bit=True)


def search_bound(*, steps: int, restarts: int) -> int:
    """The most gradient evaluations that `search` and `search_eight_bit` together take."""
    first, narrow = len(FIRST_RUNGS) + 2, (NARROWINGS + FULL_TESTS) * INNER_RUNGS
    full = FULL_TESTS * 2 * restarts
    return (first + narrow + full) * (steps + 1) + EIGHT_BIT_RUNGS * (min(steps, EIGHT_BIT_STEPS) + 1)


def _first(estimate: float, max_eps: float, verdict_eps: float) -> list[float]:
    around = [factor * estimate for factor in FIRST_RUNGS]
    if not math.isfinite(estimate):
        around = [max_eps / 2**power for power in range(1, len(FIRST_RUNGS) + 1)]
    return sorted({eps for eps in (*around, max_eps, verdict_eps) if 0.0 < eps <= max_eps})


def _eight_bit_rungs(flipped: float, norm: Norm) -> list[float]:
    if norm == "linf":
        level = math.ceil(flipped * 255.0 - 1e-6)
        return [(level + extra) / 255.0 for extra in range(EIGHT_BIT_RUNGS)]
    return [flipped * factor for factor in (1.0, 1.02, 1.05, 1.15)]
