"""The search for the smallest eps that flips: an interval whose upper end is an example, whose lower end was
attacked in vain."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from probes.approach import REFINING_STEPS, approach, refine
from probes.findings import Findings
from probes.ladder import Ladder
from probes.threat import Norm

RESOLUTION = 0.01
"""The lower end is attacked at this part below the upper end."""
FALLBACKS = (0.02, 0.04, 0.08)
"""And, from the second round on, at these in the same batch: where one of the balls holds an example, those
inside of it may not."""
ROUNDS = 4
RUNGS, RUNG_STEPS = (0.5, 0.8), 5
"""Where the curve gets points below the smallest example, in multiples of its distance, and their few steps,
which are no attack in vain."""
EIGHT_BIT_RUNGS = 4
EIGHT_BIT_STEPS = 10
EIGHT_BIT_LOOKS = 24
"""Balls that the nearest example on floats is grown and rounded in, to see where it survives that."""


class Bracket(NamedTuple):
    """`held`: the largest eps that was attacked in vain; `flipped`: the distance of the nearest example."""

    held: float | None
    flipped: float | None


def bracket(ladder: Ladder, findings: Findings) -> Bracket:
    """What is known so far. The clean image alone makes `held` 0, unless it reaches the goal itself; a ball
    where rounding decides, or where an example was claimed and not confirmed, does not hold."""
    example = findings.smallest()
    flipped = None if example is None else example.eps
    vain = [eps for eps in ladder.tested() if not (findings.undecided(eps) or findings.denied(eps))]
    held = [eps for eps in (0.0, *vain) if flipped is None or eps < flipped]
    return Bracket(max(held, default=None), flipped)


def search(ladder: Ladder, rivals: Sequence[int], *, max_eps: float, verdict_eps: float, steps: int) -> None:
    """Looks for the nearest example up to `max_eps`, and attacks just below it, and `verdict_eps`, in full.

    FMN finds the region, towards the nearest boundary and towards the likeliest `rivals` or the target. PGD
    then attacks the ball just inside of the nearest example with all restarts, from the image and from noise,
    not from the example: what FMN missed it may find, and then the search goes on from there. The last round
    is left for what the looks for the curve come across.
    """
    findings = ladder.findings
    approach(ladder, rivals, steps=steps, max_eps=max_eps)
    narrow(ladder, rounds=1, max_eps=max_eps, claimed=(verdict_eps,), steps=steps)
    narrow(ladder, rounds=ROUNDS - 2, max_eps=max_eps, fallbacks=FALLBACKS, steps=steps)
    example = findings.smallest()
    end = max_eps if example is None else example.eps
    ladder.look([factor * end for factor in RUNGS], steps=min(steps, RUNG_STEPS))
    narrow(ladder, rounds=1, max_eps=max_eps, fallbacks=FALLBACKS, steps=steps)


def narrow(
    ladder: Ladder,
    *,
    rounds: int,
    max_eps: float,
    claimed: Sequence[float] = (),
    fallbacks: Sequence[float] = (),
    steps: int,
) -> None:
    """Attacks just below the nearest example, at these parts below it and at each eps of `claimed`, until
    that finds nothing nearer, in at most so many rounds."""
    findings = ladder.findings
    for _ in range(rounds):
        example = findings.smallest()
        tested = ladder.tested()
        below = (
            [max_eps] if example is None else [example.eps * (1 - part) for part in (RESOLUTION, *fallbacks)]
        )
        closed = any(eps >= below[0] and not findings.flipped(eps) for eps in tested)
        claims = (set(claimed) - set(tested)) | (set() if closed else set(below))
        runs = {eps: ladder.restarts for eps in claims if not findings.flipped(eps)}
        if not runs or ladder.budget.stop():
            return
        ladder.climb(runs, steps=steps)
        nearer = findings.smallest()
        if nearer is not None and (example is None or nearer.eps < example.eps):
            refine(ladder)


def reopen(ladder: Ladder, *, max_eps: float, steps: int) -> None:
    """A refinement and one more round, for an example that was found after the search: it may lie far inside
    of the ball that it was found in."""
    refine(ladder)
    narrow(ladder, rounds=1, max_eps=max_eps, fallbacks=FALLBACKS, steps=steps)


def search_eight_bit(ladder: Ladder, *, max_eps: float, verdict_eps: float, steps: int) -> None:
    """Looks for the nearest 8-bit example, and for one within `verdict_eps`, on from the nearest on floats.

    That one is grown and rounded in ever larger balls, which takes forward passes only; then a few steps on
    the 8-bit grid attack the balls between the distance on floats and the first that held an example.
    """
    example = ladder.findings.smallest()
    # At distance 0 there is nothing to grow: a model that answers at random was met.
    if example is None or example.eight_bit or example.eps == 0 or ladder.budget.stop():
        return
    looks = _eight_bit_radii(example.eps, max_eps, ladder.threat.norm, EIGHT_BIT_LOOKS)
    ladder.findings.judge_grown(example.image, looks)
    found = ladder.findings.smallest(eight_bit=True)
    end = max_eps if found is None else found.eps
    inside = [eps for eps in looks if eps < end]
    shares = [rung / (EIGHT_BIT_RUNGS - 1) for rung in range(EIGHT_BIT_RUNGS)] if inside else []
    chosen = {inside[round(share * (len(inside) - 1))] for share in shares}
    if ladder.findings.flipped(verdict_eps):
        chosen.add(verdict_eps)
    rungs = [eps for eps in sorted(chosen) if not ladder.findings.flipped(eps, eight_bit=True)]
    ladder.climb(
        dict.fromkeys(rungs, 1), steps=min(steps, EIGHT_BIT_STEPS), start=example.image, eight_bit=True
    )


def search_bound(*, steps: int, restarts: int) -> tuple[int, int, int]:
    """The most gradient evaluations that a search can take after `approach`, here and after its checks, the
    most runs of an attack, and the most eps that it attacks."""
    balls = 2 + ROUNDS * (1 + len(FALLBACKS))
    # Each round may end with a refinement, and what the checks come across begins with one; 8-bit examples
    # are looked for before the checks and after.
    eight_bit, refined = 2 * (EIGHT_BIT_RUNGS + 1), ROUNDS + 2
    short = refined * (REFINING_STEPS + 1) + eight_bit * (min(steps, EIGHT_BIT_STEPS) + 1)
    short += len(RUNGS) * (min(steps, RUNG_STEPS) + 1)
    runs = balls * restarts + refined + len(RUNGS) + eight_bit + 2 * EIGHT_BIT_LOOKS
    gradients = balls * restarts * (steps + 1) + short
    return gradients, runs, balls + len(RUNGS)


def _eight_bit_radii(flipped: float, max_eps: float, norm: Norm, count: int) -> list[float]:
    """From the distance on floats on, ascending: whole levels in l-inf, else ever further apart."""
    if norm == "linf":
        level = math.ceil(flipped * 255.0 - 1e-6)
        radii = [flipped + 1e-9, *((level + extra) / 255.0 for extra in range(EIGHT_BIT_RUNGS))]
    else:
        # One level of one value is the least that an 8-bit image can move.
        radii = [
            float(eps) for eps in np.geomspace(flipped + 1e-9, max(10.0 * flipped, flipped + 10 / 255), count)
        ]
    return sorted({eps for eps in radii if eps <= max_eps})
