"""Checks that would expose gradient masking, or a budget that was too small.

They follow the lists of Athalye et al. (arXiv 1802.00420, section 3.1) and Carlini et al. (arXiv 1902.06705).
A failed check makes `held` untrustworthy; it says nothing against a confirmed flip. Whatever a check
evaluates may itself turn out to be an example, and then counts as one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from probes.arrays import Array
from probes.attacks.noise import noisy
from probes.classifier import Gradient
from probes.findings import batch_rows
from probes.ladder import Climb, Ladder
from probes.report import Check
from probes.threat import dual_norm

NOISE_DRAWS = 4
HUGE_EPS_LINF = 0.5
"""Half the range turns any image into plain grey (Carlini et al., arXiv 1902.06705, section 5.2)."""
HUGE_STEPS = 10
FLAT_SHARE = 0.1
UNSETTLED_SHARE = 0.2
SLACK = 0.01
"""Differences in margin below this part of the clean margin do not count."""
_MEASURABLE = 1e-5
_SAME = 1e-4
_GRAPHS_AGREE = 0.02


def noise_margins(ladder: Ladder, radii: Sequence[float], *, seed: int) -> list[float | None]:
    """The smallest margin over a few draws of uniform noise of each size; None where time ran out."""
    findings = ladder.findings
    draws = [(eps, draw) for eps in radii for draw in range(NOISE_DRAWS)]
    margins: list[float] = []
    rows = batch_rows(findings.clean)
    for first in range(0, len(draws), rows):
        if ladder.budget.stop():
            break
        chunk = draws[first : first + rows]
        points = np.concatenate([_noise(ladder, eps, draw, seed) for eps, draw in chunk])
        margins += findings.judge(points, np.asarray([eps for eps, _ in chunk])).margins.tolist()
    measured = len(margins) // NOISE_DRAWS
    smallest = np.reshape(margins[: measured * NOISE_DRAWS], (measured, NOISE_DRAWS)).min(axis=1)
    return [float(margin) for margin in smallest] + [None] * (len(radii) - measured)


def served_answers(ladder: Ladder, clean_logits: Array, gradient: Gradient) -> list[Check]:
    """The classifier answers the same twice, and its gradient graph computes the same network."""
    findings = ladder.findings
    scale = float(np.max(np.abs(clean_logits)))
    again = float(np.max(np.abs(findings.logits(findings.clean[None]) - clean_logits)))
    apart = float(np.max(np.abs(gradient.logits - clean_logits)))
    return [
        Check(
            check="deterministic",
            passed=again <= _SAME * scale,
            detail=f"logits of the same image differ by up to {again:.2g} from one call to the next",
        ),
        Check(
            check="gradient_graph_agrees",
            passed=apart <= _GRAPHS_AGREE * scale,
            detail=f"logits of the gradient graph differ by up to {apart:.2g} from the served ones",
        ),
        Check(
            check="served_classifier_confirms",
            passed=findings.unconfirmed == 0,
            detail=f"{findings.unconfirmed} of the attack's examples were not confirmed by the served model",
        ),
        Check(
            check="logits_finite",
            passed=findings.not_finite == 0,
            detail=f"{findings.not_finite} points had logits that are not finite",
        ),
    ]


def gradient_not_zero(ladder: Ladder) -> Check:
    """Nearly all evaluations of the attack had a direction to climb."""
    evaluations = sum(climb.evaluations for climb in ladder.climbs)
    flat = sum(climb.flat for climb in ladder.climbs)
    return Check(
        check="gradient_not_zero",
        passed=flat <= FLAT_SHARE * evaluations,
        detail=f"{flat} of {evaluations} gradients were zero everywhere or not finite",
    )


def freshly_attacked(ladder: Ladder, eps: float) -> float | None:
    """The largest radius, up to `eps`, that a run attacked in vain without starting from an example.

    Only such a run shows how the attack climbs: one that starts from an example begins where it ends.
    """
    tested = [radius for radius in ladder.tested() if radius <= eps]
    return max((radius for radius in tested if len(_leads(ladder.climbs, radius)[0])), default=None)


def attack_worked(
    ladder: Ladder, eps: float, *, clean_margin: float, gradient: Gradient, noise_margin: float | None
) -> list[Check]:
    """The attack at `eps`, where it found nothing, behaved as an attack on an honest gradient does.

    Args:
        eps: one that `freshly_attacked` names.
        gradient: of the margin loss at the clean image.
        noise_margin: of noise of size `eps`, None if it was not measured.
    """
    slack = SLACK * abs(clean_margin)
    start, late, end = _leads(ladder.climbs, eps)
    smallest = -float(np.max(end, initial=-np.inf))
    checks = [
        _rises(
            start,
            end,
            expected=eps * dual_norm(gradient.gradient, ladder.threat.norm),
            clean_margin=clean_margin,
        ),
        _settles(start, late, end, slack),
    ]
    if not ladder.budget.stop():
        single = _single_step_margin(ladder, eps, gradient)
        checks.append(
            Check(
                check="iterative_beats_single_step",
                passed=smallest <= single + slack,
                detail=f"smallest margin {smallest:.3g} by several steps, {single:.3g} by a single one",
            )
        )
    if noise_margin is not None:
        checks.append(
            Check(
                check="noise_does_not_beat_attack",
                passed=smallest <= noise_margin + slack,
                detail=f"smallest margin {smallest:.3g} by the attack, {noise_margin:.3g} by equal noise",
            )
        )
    return checks


def larger_budget_agrees(ladder: Ladder, eps: float, *, steps: int, restarts: int) -> Check | None:
    """Twice the steps and twice the restarts, from new starts, find nothing either; None where time ran
    out."""
    ladder.climb([eps], restarts=2 * restarts, first_restart=restarts, steps=2 * steps)
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
    eps = HUGE_EPS_LINF if ladder.threat.norm == "linf" else HUGE_EPS_LINF * math.sqrt(findings.clean.size)
    ladder.climb([eps], restarts=1, steps=min(steps, HUGE_STEPS), findings=findings)
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


def flips_persist(ladder: Ladder, *, restarts: int) -> Check:
    """No ball that the whole attack failed in holds an example that something else found."""
    missed = [eps for eps in ladder.tested(restarts) if ladder.findings.flipped(eps)]
    detail = "every ball that holds an example was found to hold one by the attack itself"
    if missed:
        detail = f"the attack failed at eps {missed[0]:.4g}, where another search found an example"
    return Check(check="flips_persist", passed=not missed, detail=detail)


def full_evidence_bound(*, steps: int, restarts: int) -> int:
    """The most gradient evaluations that the full evidence takes."""
    return 2 * restarts * (2 * steps + 1) + min(steps, HUGE_STEPS) + 1


def _noise(ladder: Ladder, eps: float, draw: int, seed: int) -> Array:
    return noisy(
        ladder.findings.clean[None],
        threat=ladder.threat,
        eps=np.full((1,), eps, dtype=np.float32),
        draw=draw,
        seed=seed,
        samples=np.zeros((1,), dtype=np.int64),
    )


def _leads(climbs: Sequence[Climb], eps: float) -> tuple[Array, Array, Array]:
    chosen = [(climb, (climb.eps == eps) & climb.fresh) for climb in climbs]
    return (
        np.concatenate([climb.start[rows] for climb, rows in chosen]),
        np.concatenate([climb.late[rows] for climb, rows in chosen]),
        np.concatenate([climb.end[rows] for climb, rows in chosen]),
    )


def _rises(start: Array, end: Array, *, expected: float, clean_margin: float) -> Check:
    rising = int(np.sum(end > start))
    measurable = expected > _MEASURABLE * abs(clean_margin)
    detail = f"the loss rose in {rising} of {len(end)} runs"
    if not measurable:
        detail = "the ball is too small for the loss to change measurably"
    return Check(check="loss_rises", passed=not measurable or 2 * rising >= len(end) > 0, detail=detail)


def _settles(start: Array, late: Array, end: Array, slack: float) -> Check:
    gained, gained_late = float(np.sum(end - start)), float(np.sum(end - late))
    share = gained_late / gained if gained > slack * len(end) else 0.0
    return Check(
        check="loss_settles",
        passed=share <= UNSETTLED_SHARE,
        detail=f"{share:.0%} of the rise came in the last quarter of the steps",
    )


def _single_step_margin(ladder: Ladder, eps: float, gradient: Gradient) -> float:
    findings, length = ladder.findings, np.full((1,), eps, dtype=np.float32)
    direction = np.where(np.isfinite(gradient.gradient), gradient.gradient, np.float32(0.0))
    point = np.clip(findings.clean[None] + ladder.threat.step(direction, length), 0.0, 1.0)
    return float(findings.judge(point, np.asarray([eps])).margins[0])
