"""Attacks that must not do better than the attack itself, or must not fail where it cannot: controls.

They follow Athalye et al. (arXiv 1802.00420, section 3.1) and Carlini et al. (arXiv 1902.06705). What a
control finds is an example like any other.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from probes.arrays import Array, finite_or_zero
from probes.attacks.noise import noisy
from probes.attacks.square import square
from probes.classifier import Gradient
from probes.findings import batch_rows
from probes.ladder import Ladder
from probes.objective import Answer
from probes.report import Check
from probes.request import Evidence
from probes.threat import diameter

NOISE_DRAWS = 4
HUGE_EPS = 0.5
"""In multiples of the distance between black and white: it turns any image into plain grey (Carlini et al.,
arXiv 1902.06705, section 5.2)."""
HUGE_STEPS = 10
QUERIES: dict[Evidence, tuple[int, int]] = {"quick": (30, 2), "full": (250, 8)}
"""Queries of each run of the query-only attack, and runs, which stand side by side in a batch."""


def noise_margins(ladder: Ladder, radii: Sequence[float]) -> list[float | None]:
    """The smallest margin over a few draws of uniform noise of each size; None where time ran out."""
    findings = ladder.findings
    draws = [(eps, draw) for eps in radii for draw in range(NOISE_DRAWS)]
    margins: list[float] = []
    rows = batch_rows(findings.clean)
    for first in range(0, len(draws), rows):
        if ladder.budget.stop():
            break
        chunk = draws[first : first + rows]
        points = np.concatenate([_noise(ladder, eps, draw) for eps, draw in chunk])
        margins += findings.judge(points, np.asarray([eps for eps, _ in chunk])).margins.tolist()
    measured = len(margins) // NOISE_DRAWS
    smallest = np.reshape(margins[: measured * NOISE_DRAWS], (measured, NOISE_DRAWS)).min(axis=1)
    return [float(margin) for margin in smallest] + [None] * (len(radii) - measured)


def single_step_margin(ladder: Ladder, eps: float, gradient: Gradient) -> float:
    """The margin after one step of size eps along the gradient of the margin at the clean image."""
    findings, length = ladder.findings, np.full((1,), eps, dtype=np.float32)
    clean, direction = findings.clean[None], finite_or_zero(gradient.gradient)
    move = ladder.threat.step(direction, length, points=clean, eps=length)
    point = np.clip(clean + move, 0.0, 1.0)
    return float(findings.judge(point, np.asarray([eps])).margins[0])


def query_margin(ladder: Ladder, eps: float, evidence: Evidence) -> float | None:
    """The smallest margin that the Square attack reaches, which asks the served classifier for its answers
    and for nothing else; None where time ran out."""
    findings, (queries, runs) = ladder.findings, QUERIES[evidence]
    clean = np.repeat(findings.clean[None], runs, axis=0)

    def ask(images: Array, rows: Array) -> Answer:
        assessment = findings.goal.assess(findings.logits(images))
        return Answer(-assessment.margin, assessment.reached)

    result = square(
        ask,
        clean,
        threat=ladder.threat,
        eps=np.full((runs,), eps, dtype=np.float32),
        queries=queries,
        seed=ladder.seed,
        early_stop=True,
        budget=ladder.budget,
        on_query=lambda _: ladder.on_step(),
    )
    margins = findings.judge(result.images, np.full((runs,), eps)).margins
    return None if ladder.budget.stop() else float(np.min(margins))


def longer_run(ladder: Ladder, eps: float, *, steps: int) -> float | None:
    """The best lead of the attack's first run if it is given twice the steps; None where time ran out."""
    if ladder.budget.stop():
        return None
    ladder.climb({eps: 1}, steps=2 * steps, counts=False)
    return None if ladder.budget.stop() else float(ladder.climbs[-1].end[0])


def larger_budget_agrees(ladder: Ladder, eps: float, *, steps: int) -> Check | None:
    """Twice the steps and twice the restarts, from new starts and with other aims, find nothing either; None
    where time ran out, or where another control found an example already."""
    if ladder.findings.flipped(eps):
        return None
    restarts = ladder.restarts
    ladder.climb({eps: 2 * restarts}, first_restart=restarts, steps=2 * steps)
    flipped = ladder.findings.flipped(eps)
    if ladder.budget.stop() and not flipped:
        return None
    outcome = "found an example that the smaller budget missed" if flipped else "found nothing either"
    return Check(
        check="larger_budget_agrees",
        passed=not flipped,
        detail=f"{2 * steps} steps and {2 * restarts} restarts {outcome}",
    )


def huge_eps_flips(ladder: Ladder, *, steps: int, largest_eps: float) -> Check | None:
    """Half the pixel range flips any image; an attack that fails there does not work. None where time ran
    out.

    An example that it meets within `largest_eps`, the largest ball that the probe is about, counts as found.
    """
    findings = ladder.findings.aside()
    eps = HUGE_EPS * diameter(ladder.threat.norm, findings.clean.size)
    ladder.climb({eps: 1}, steps=min(steps, HUGE_STEPS), findings=findings)
    flipped = findings.flipped(eps)
    nearest = findings.smallest()
    if nearest is not None and findings.flipped(largest_eps):
        ladder.findings.judge(nearest.image[None], np.asarray([nearest.eps]))
    if ladder.budget.stop() and not flipped:
        return None
    return Check(
        check="huge_eps_flips",
        passed=flipped,
        detail=f"the attack {'reaches' if flipped else 'does not reach'} its goal at eps {eps:.3g}",
    )


def _noise(ladder: Ladder, eps: float, draw: int) -> Array:
    return noisy(
        ladder.findings.clean[None],
        threat=ladder.threat,
        eps=np.full((1,), eps, dtype=np.float32),
        draw=draw,
        seed=ladder.seed,
        samples=np.zeros((1,), dtype=np.int64),
    )
