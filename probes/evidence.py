"""Checks that would expose gradient masking, or a budget that was too small.

They follow the lists of Athalye et al. (arXiv 1802.00420, section 3.1) and Carlini et al. (arXiv 1902.06705).
A failed check makes `held` untrustworthy; it says nothing against a confirmed flip. Whatever a check
evaluates may itself turn out to be an example, and then counts as one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from probes.arrays import Array
from probes.classifier import Gradient
from probes.controls import huge_eps_flips, larger_budget_agrees, longer_run, query_margin, single_step_margin
from probes.findings import Findings
from probes.goal import spread
from probes.ladder import Climb, Ladder
from probes.losses import Loss
from probes.minimal_eps import bracket
from probes.report import Check, CheckName
from probes.request import LOSSES, ProbeRequest
from probes.slope import gradient_is_the_slope, promised_rise

FLAT_SHARE = 0.1
RISE_SHARE = 0.1
"""Of the rise that the gradient at the image promises."""
UNSETTLED_SHARE = 0.2
SLACK = 0.01
"""Differences in margin below this part of the clean margin do not count."""
_MEASURABLE = 1e-5
_SAME = 1e-4
_GRAPHS_AGREE = 0.02
_ROUNDED = 1e-6
"""What float32 may lose of a logit."""


def gather(
    ladder: Ladder,
    request: ProbeRequest,
    clean_logits: Array,
    *,
    eps: float,
    verdict_eps: float,
    searched: float,
    noise: Mapping[float, float | None],
) -> list[Check]:
    """All checks that `request` asks for and the budget has time for.

    Args:
        clean_logits: of the served classifier, float32[1, K].
        eps: what those of the attack itself look at (`looked_at`).
        searched: the largest eps that the probe is about.
        noise: the smallest margin under noise, by its size.
    """
    if ladder.budget.stop():
        return [_gradient_not_zero(ladder, verdict_eps), _flips_persist(ladder)]
    gradient = ladder.gradient(Loss.MARGIN)
    checks: list[Check | None] = [_gradient_not_zero(ladder, eps)]
    attacked = eps in ladder.completed
    if attacked:
        clean_margin = float(ladder.findings.goal.assess(clean_logits).margin[0])
        checks += _attack_worked(
            ladder, request, eps, clean_margin=clean_margin, gradient=gradient, noise=noise
        )
        if request.evidence == "full":
            checks.append(larger_budget_agrees(ladder, eps, steps=request.steps))
    checks.append(huge_eps_flips(ladder, steps=request.steps, largest_eps=searched))
    if not ladder.budget.stop():
        checks += _served_answers(ladder, clean_logits, gradient, verdict_eps=verdict_eps)
    if attacked:
        # Late, because all checks before it look at more points.
        checks.append(_undecided(ladder, eps))
    checks.append(_flips_persist(ladder))
    return [check for check in checks if check is not None]


def reopened(ladder: Ladder, checks: Sequence[Check], *, eps: float, verdict_eps: float) -> list[Check]:
    """The same checks once a search has gone on, with those made again that look at what was found."""
    again = {
        check.check: check
        for check in (
            _undecided(ladder, eps),
            _confirmed(ladder.findings, verdict_eps),
            _finite(ladder.findings),
            _flips_persist(ladder),
        )
    }
    return [again.get(check.check, check) for check in checks]


def looked_at(ladder: Ladder, verdict_eps: float) -> float:
    """The eps that the checks of the attack are about: that of the verdict or, once that is flipped, the
    largest that held."""
    held = bracket(ladder, ladder.findings).held or 0.0
    return held if ladder.findings.flipped(verdict_eps) else verdict_eps


def _served_answers(
    ladder: Ladder, clean_logits: Array, gradient: Gradient, *, verdict_eps: float
) -> list[Check]:
    """The classifier answers the same twice, and its gradient graph computes the same network."""
    findings = ladder.findings
    # Neither sees more than rounding where all logits are shifted, which changes no answer.
    span, rounded = float(spread(clean_logits)[0]), _ROUNDED * np.abs(clean_logits)
    again = np.abs(findings.logits(findings.clean[None]) - clean_logits)
    apart = np.abs(gradient.logits - clean_logits)
    return [
        Check(
            check="deterministic",
            passed=bool(np.all(again <= _SAME * span + rounded)),
            detail=f"logits of the same image differ by up to {np.max(again):.2g} from one call to the next",
        ),
        Check(
            check="gradient_graph_agrees",
            passed=bool(np.all(apart <= _GRAPHS_AGREE * span + rounded)),
            detail=f"logits of the gradient graph differ by up to {np.max(apart):.2g} from the served ones",
        ),
        _confirmed(findings, verdict_eps),
        _finite(findings),
    ]


def _finite(findings: Findings) -> Check:
    """The served model answered every point with numbers."""
    return Check(
        check="logits_finite",
        passed=findings.not_finite == 0,
        detail=f"{findings.not_finite} points had logits that are not finite",
    )


def _confirmed(findings: Findings, verdict_eps: float) -> Check:
    """No example that the attack claims within the ball of the verdict is denied by the served model. Once
    that is flipped all claims count."""
    denied = len(findings.unconfirmed) if findings.flipped(verdict_eps) else findings.denied(verdict_eps)
    detail = f"{denied} of the attack's examples were not confirmed by the served model"
    if beyond := len(findings.unconfirmed) - denied:
        detail += f"; beyond eps {verdict_eps:.4g}, {beyond}"
    return Check(check="served_classifier_confirms", passed=denied == 0, detail=detail)


def _gradient_not_zero(ladder: Ladder, eps: float) -> Check:
    """Nearly all evaluations of the attack had a direction to climb, and so had nearly all of those at `eps`,
    which the others could outnumber."""
    chosen = [(climb, climb.eps == eps) for climb in ladder.climbs]
    evaluations = sum(int(np.sum(climb.evaluations)) for climb, _ in chosen)
    flat = sum(int(np.sum(climb.flat)) for climb, _ in chosen)
    evaluations_there = sum(int(np.sum(climb.evaluations[rows])) for climb, rows in chosen)
    flat_there = sum(int(np.sum(climb.flat[rows])) for climb, rows in chosen)
    detail = f"{flat} of {evaluations} gradients were zero everywhere or not finite"
    if evaluations_there:
        detail += f"; at eps {eps:.4g}, {flat_there} of {evaluations_there}"
    return Check(
        check="gradient_not_zero",
        passed=flat <= FLAT_SHARE * evaluations and flat_there <= FLAT_SHARE * evaluations_there,
        detail=detail,
    )


def _attack_worked(
    ladder: Ladder,
    request: ProbeRequest,
    eps: float,
    *,
    clean_margin: float,
    gradient: Gradient,
    noise: Mapping[float, float | None],
) -> list[Check]:
    """The attack at `eps`, where it found nothing, behaved as an attack on an honest gradient does."""
    slack = SLACK * abs(clean_margin)
    start, late, end = _leads(ladder.climbs, eps)
    # The served classifier's word: the gradient graph's own might be part of what misleads.
    smallest = ladder.served_margins.get(eps, np.inf)
    promised = promised_rise(ladder, eps, gradient)
    under_noise = noise.get(eps)
    moved = 0.0 if under_noise is None else abs(clean_margin - under_noise)
    # Auto-PGD's steps shrink until nothing rises any more, at the top or short of it.
    longer = longer_run(ladder, eps, steps=request.steps) if ladder.threat.norm == "l1" else None
    checks = [
        _rises(start, end, promised=promised, moved=moved, clean_margin=clean_margin),
        _settles(start, late, end, slack, longer=longer),
    ]
    rivals: list[tuple[CheckName, str, float | None]] = [
        ("noise_does_not_beat_attack", "equal noise", under_noise),
    ]
    if not ladder.budget.stop():
        single = single_step_margin(ladder, eps, gradient)
        rivals.append(("iterative_beats_single_step", "a single step", single))
    if not ladder.budget.stop():
        queries = query_margin(ladder, eps, request.evidence)
        rivals.append(("queries_do_not_beat_attack", "an attack that only asks for answers", queries))
    slope = gradient_is_the_slope(ladder, eps, clean=gradient, loss=LOSSES[request.loss][0])
    checks += [] if slope is None else [slope]
    return checks + [
        Check(
            check=name,
            passed=smallest <= margin + slack,
            detail=f"smallest margin {smallest:.3g} by the attack, {margin:.3g} by {rival}",
        )
        for name, rival, margin in rivals
        if margin is not None
    ]


def _undecided(ladder: Ladder, eps: float) -> Check:
    """No point inside the ball had another class only by what rounding can do."""
    undecided = ladder.findings.undecided(eps)
    detail = "no point inside the ball is given the class that would flip by less than logits are rounded by"
    if undecided:
        detail = (
            "a point inside the ball is given the class that would flip, by less than logits are rounded by"
        )
    return Check(check="answers_are_decided", passed=not undecided, detail=detail)


def _flips_persist(ladder: Ladder) -> Check:
    """No ball that the whole attack failed in holds an example that something else found."""
    missed = [eps for eps in ladder.tested() if ladder.findings.flipped(eps)]
    detail = "every ball that holds an example was found to hold one by the attack itself"
    if missed:
        detail = f"the attack failed at eps {missed[0]:.4g}, where another search found an example"
    return Check(check="flips_persist", passed=not missed, detail=detail)


def _leads(climbs: Sequence[Climb], eps: float) -> tuple[Array, Array, Array]:
    chosen = [(climb, climb.eps == eps) for climb in climbs]
    return (
        np.concatenate([climb.start[rows] for climb, rows in chosen]),
        np.concatenate([climb.late[rows] for climb, rows in chosen]),
        np.concatenate([climb.end[rows] for climb, rows in chosen]),
    )


def _rises(start: Array, end: Array, *, promised: float, moved: float, clean_margin: float) -> Check:
    rising = int(np.sum(end > start))
    best = float(np.max(end - start)) if len(end) else 0.0
    measurable = max(promised, moved) > _MEASURABLE * abs(clean_margin)
    detail = f"the loss rose in {rising} of {len(end)} runs, by up to {best:.3g}; promised are {promised:.3g}"
    if not measurable:
        detail = "the ball is too small for the loss to change measurably"
    # The best of many points is higher than the first one even on a walk at random.
    rises = 2 * rising >= len(end) > 0 and best >= RISE_SHARE * promised
    return Check(check="loss_rises", passed=not measurable or rises, detail=detail)


def _settles(start: Array, late: Array, end: Array, slack: float, *, longer: float | None) -> Check:
    """`longer`: the best lead of the first run with twice the steps, if there was one."""
    gained, gained_late = float(np.sum(end - start)), float(np.sum(end - late))
    share = gained_late / gained if gained > slack * len(end) else 0.0
    detail = f"{share:.0%} of the rise came in the last quarter of the steps"
    more = 0.0
    if longer is not None:
        beyond = longer - float(end[0])
        more = beyond / max(float(end[0] - start[0]), slack) if beyond > slack else 0.0
        detail += f"; twice the steps rise by {more:.0%} more"
    return Check(check="loss_settles", passed=max(share, more) <= UNSETTLED_SHARE, detail=detail)
