"""The search for the smallest eps that flips: an interval whose upper end is an example, whose lower end was
attacked in vain."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from probes.approach import REFINING_STEPS, approach, refine
from probes.findings import Findings
from probes.goal import Goal
from probes.ladder import Ladder
from probes.losses import UNTARGETED
from probes.threat import Norm

RESOLUTION = 0.01
"""The lower end is attacked at this part below the upper end, twice as far below in every further round."""
FIRST_RIVALS = 2
"""How many of the next likely classes the first search aims at, each by itself."""
ROUNDS = 5
RUNGS, RUNG_STEPS = (0.5, 0.8), 5
"""Where the curve gets points below the smallest example, in multiples of its distance, and their few steps,
which are no attack in vain."""
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


def towards(goal: Goal, rivals: Sequence[int]) -> list[int]:
    """Where a first search goes: the target, or away from the label and to the likeliest of `rivals`."""
    return [UNTARGETED, *rivals[:FIRST_RIVALS]] if goal.target is None else [goal.target]


def search(
    ladder: Ladder, rivals: Sequence[int], *, max_eps: float, verdict_eps: float, steps: int, restarts: int
) -> None:
    """Looks for the nearest example up to `max_eps`, and attacks just below it, and `verdict_eps`, in full.

    FMN finds the region, towards the nearest boundary and towards the likeliest `rivals`, in one batch. PGD
    then attacks the ball just inside of the nearest example with all restarts, from the image and from noise,
    not from the example: what FMN missed it may find, and then the search goes on from there.
    """
    findings = ladder.findings
    approach(ladder, towards(findings.goal, rivals), steps=steps, max_eps=max_eps)
    for number in range(ROUNDS):
        example = findings.smallest()
        below = max_eps if example is None else example.eps * (1.0 - RESOLUTION * 2**number)
        tested = ladder.tested(restarts)
        claims = {verdict_eps} - set(tested)
        if not any(eps >= below and not findings.flipped(eps) for eps in tested):
            claims.add(below)
        runs = {eps: restarts for eps in claims if not findings.flipped(eps)}
        if not runs or ladder.budget.stop():
            break
        ladder.climb(runs, steps=steps)
        nearer = findings.smallest()
        if nearer is not None and (example is None or nearer.eps < example.eps):
            refine(ladder)
    example = findings.smallest()
    end = max_eps if example is None else example.eps
    ladder.look([factor * end for factor in RUNGS], steps=min(steps, RUNG_STEPS))


def search_eight_bit(ladder: Ladder, *, max_eps: float, steps: int) -> None:
    """Looks for the nearest 8-bit example in the balls just around the nearest example on floats."""
    example = ladder.findings.smallest()
    if example is None or example.eight_bit:
        return
    rungs = [eps for eps in _eight_bit_rungs(example.eps, ladder.threat.norm) if eps <= max_eps]
    ladder.climb(
        dict.fromkeys(rungs, 1), steps=min(steps, EIGHT_BIT_STEPS), start=example.image, eight_bit=True
    )


def search_bound(*, steps: int, restarts: int) -> tuple[int, int]:
    """The most gradient evaluations that `search` and `search_eight_bit` together take, and the most runs."""
    begin, rounds = 1 + FIRST_RIVALS, ROUNDS * 2 * restarts
    short = ROUNDS * (REFINING_STEPS + 1) + EIGHT_BIT_RUNGS * (min(steps, EIGHT_BIT_STEPS) + 1)
    short += len(RUNGS) * (min(steps, RUNG_STEPS) + 1)
    runs = begin + rounds + ROUNDS + len(RUNGS) + EIGHT_BIT_RUNGS
    return (begin + rounds) * (steps + 1) + short, runs


def _eight_bit_rungs(flipped: float, norm: Norm) -> list[float]:
    if norm == "linf":
        level = math.ceil(flipped * 255.0 - 1e-6)
        return [(level + extra) / 255.0 for extra in range(EIGHT_BIT_RUNGS)]
    return [flipped * factor for factor in (1.0, 1.02, 1.05, 1.15)]
