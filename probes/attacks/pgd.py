"""Projected gradient descent (Madry et al., arXiv 1706.06083, section 2.1), best iterate kept."""

from __future__ import annotations

from typing import Literal

from probes.arrays import Array, finite_or_zero, namespace
from probes.attacks.result import AttackResult, OnStep, Step, keep_worst, nothing_found
from probes.attacks.start import starts
from probes.budget import Budget
from probes.objective import Objective
from probes.threat import Threat, admissible


def pgd(
    objective: Objective,
    images: Array,
    *,
    threat: Threat,
    eps: Array,
    steps: int,
    step_size: Array | None = None,
    restarts: int = 1,
    seed: int = 0,
    samples: Array | None = None,
    random_start: bool = True,
    start: Array | None = None,
    early_stop: bool = False,
    keep: Literal["worst", "last"] = "worst",
    budget: Budget | None = None,
    on_step: OnStep | None = None,
) -> AttackResult:
    """Climb `objective` inside the ball of radius eps around `images`, cut with [0, 1].

    Every point is evaluated, the one after the last step too, and the worst is returned, so more steps of one
    size, or more restarts, never find less. A restart costs steps + 1 evaluations a sample.

    Args:
        images: float32[N, C, H, W] in [0, 1].
        eps: float32[N], radius of each sample's ball; 0 gives the image back.
        step_size: float32[N]; `threat.default_step` without it.
        samples: int64[N], lasting identities that key the random starts; 0 ... N-1 without them.
        random_start: draw each restart's start from the ball; otherwise all start at the image.
        start: float32[N, C, H, W], points to start the first restart from (projected into the ball).
        early_stop: leave a sample alone once its goal is reached. The batch is compacted, so `objective` must
            be separable.
        keep: "last" returns the points after the last step and does not evaluate them, which is what
            adversarial training uses and saves one evaluation of steps + 1; `value` and `adversarial` say so.
        budget: asked before every evaluation; when it says stop, what there is so far is returned.
        on_step: told about every evaluation.

    Raises:
        ValueError: if steps or restarts is not positive, or `keep="last"` meets restarts or early_stop.
    """
    if keep == "last" and (restarts > 1 or early_stop):
        raise ValueError('keep="last" has no use for restarts or early_stop: they need evaluated points')
    if steps < 1 or restarts < 1:
        raise ValueError(f"steps and restarts must be at least 1, not {steps} and {restarts}")
    budget = budget or Budget()
    step_size = threat.default_step(eps, steps) if step_size is None else step_size
    best = nothing_found(images)
    for restart, rows, clean, points in starts(
        images,
        best,
        threat=threat,
        eps=eps,
        restarts=restarts,
        seed=seed,
        samples=samples,
        random_start=random_start,
        start=start,
        early_stop=early_stop,
    ):
        radius, length = eps[rows], step_size[rows]
        for step in range(steps + 1):
            if budget.stop():
                break
            evaluation = objective(points, rows)
            if keep == "worst":
                keep_worst(best, rows, points, evaluation)
            if on_step is not None:
                on_step(Step(restart, step, rows, points, evaluation))
            if step == steps:
                break
            gradient = finite_or_zero(evaluation.gradient)
            if early_stop and bool(namespace(points).any(evaluation.adversarial)):
                going = ~evaluation.adversarial
                rows, radius, length = rows[going], radius[going], length[going]
                clean, points, gradient = clean[going], points[going], gradient[going]
                if rows.shape[0] == 0:
                    break
            move = threat.step(gradient, length, points=points, eps=radius)
            points = admissible(points + move, clean, threat, radius)
            if keep == "last" and step + 1 == steps:
                break
    return best if keep == "worst" else best._replace(images=points)
