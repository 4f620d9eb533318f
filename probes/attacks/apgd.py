"""Auto-PGD (Croce and Hein, arXiv 2003.01690, algorithm 1): PGD that finds its own step sizes."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

from probes.arrays import (
    Array,
    finite_or_zero,
    full_like_samples,
    namespace,
    where_sample,
)
from probes.attacks.result import AttackResult, OnStep, Step, keep_worst, nothing_found
from probes.attacks.start import starts
from probes.budget import Budget
from probes.objective import Evaluation, Objective
from probes.threat import Threat, admissible

_MOMENTUM = 0.75
"""alpha: the share of the new step; the rest repeats the last move."""
_RISES = 0.75
"""rho: a step size is halved when fewer than this share of its steps rose."""


def apgd(
    objective: Objective,
    images: Array,
    *,
    threat: Threat,
    eps: Array,
    steps: int,
    restarts: int = 1,
    seed: int = 0,
    samples: Array | None = None,
    random_start: bool = True,
    start: Array | None = None,
    early_stop: bool = False,
    budget: Budget | None = None,
    on_step: OnStep | None = None,
) -> AttackResult:
    """Climb `objective` inside the ball of radius eps around `images`, cut with [0, 1].

    Steps begin at 2 * eps. At each checkpoint a sample whose last steps seldom rose, or brought nothing new
    at an unchanged step size, halves its step size and goes on from its best point. That is judged by what is
    climbed, and the point that is returned by its value, where the two differ. A restart costs steps + 1
    evaluations a sample; more restarts never find less.

    Args:
        images: float32[N, C, H, W] in [0, 1].
        eps: float32[N], radius of each sample's ball; 0 gives the image back.
        samples: int64[N], lasting identities that key the random starts; 0 ... N-1 without them.
        random_start: draw each restart's start from the ball; otherwise all start at the image.
        start: float32[N, C, H, W], points to start the first restart from (projected into the ball).
        early_stop: leave a sample alone once its goal is reached. The batch is compacted, so `objective` must
            be separable.
        budget: asked before every evaluation; when it says stop, the worst points so far are returned.
        on_step: told about every evaluation.

    Raises:
        ValueError: if steps or restarts is not positive.
    """
    if steps < 1 or restarts < 1:
        raise ValueError(f"steps and restarts must be at least 1, not {steps} and {restarts}")
    budget = budget or Budget()
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
        climb = _begin(rows, clean, eps[rows], points)
        last_checkpoint = 0
        for step in range(steps + 1):
            if budget.stop():
                break
            evaluation = objective(climb.points, climb.rows)
            keep_worst(best, climb.rows, climb.points, evaluation)
            if on_step is not None:
                on_step(Step(restart, step, climb.rows, climb.points, evaluation))
            if step == steps:
                break
            climb = _record(climb, evaluation)
            if step in checkpoints(steps):
                climb = _judge_step_size(climb, step - last_checkpoint)
                last_checkpoint = step
            if early_stop:
                climb = climb.only(~evaluation.adversarial)
                if climb.rows.shape[0] == 0:
                    break
            climb = _move(climb, threat, momentum=_MOMENTUM if step > 0 else 1.0)
    return best


def checkpoints(steps: int) -> tuple[int, ...]:
    """The steps at which step sizes are judged, the start first: 0, 22 %, 41 %, 57 %, 70 %, 80 %, ... of
    `steps`, each interval 3 % shorter than the one before but at least 6 % long (section 3.1)."""
    found, percent, interval = [0], 22, 22
    while percent < 100:
        found.append(-(-percent * steps // 100))
        interval = max(interval - 3, 6)
        percent += interval
    return tuple(dict.fromkeys(found))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Climb:
    """Where each of the M samples under attack stands."""

    rows: Array
    clean: Array
    eps: Array
    points: Array
    previous: Array
    gradient: Array
    value: Array
    """float[M], of what is climbed, as the other values here."""
    best_points: Array
    best_gradient: Array
    best_value: Array
    step_size: Array
    rises: Array
    """float32[M], steps since the last checkpoint that rose."""
    halved: Array
    """bool[M], whether the last checkpoint halved the step size."""
    checkpoint_value: Array
    """float[M], the best value at the last checkpoint."""

    def only(self, kept: Array) -> _Climb:
        """The samples marked in bool[M] `kept`."""
        return replace(self, **{field.name: getattr(self, field.name)[kept] for field in fields(self)})


def _begin(rows: Array, clean: Array, eps: Array, points: Array) -> _Climb:
    xp = namespace(points)
    nothing = full_like_samples(points, -float("inf"))
    return _Climb(
        rows=rows,
        clean=clean,
        eps=eps,
        points=points,
        previous=points,
        gradient=xp.zeros_like(points),
        # The first value is no rise.
        value=-nothing,
        best_points=points,
        best_gradient=xp.zeros_like(points),
        best_value=nothing,
        step_size=2.0 * eps,
        rises=xp.zeros_like(nothing),
        halved=xp.zeros_like(nothing, dtype=xp.bool),
        checkpoint_value=nothing,
    )


def _record(climb: _Climb, evaluation: Evaluation) -> _Climb:
    xp, gradient = namespace(climb.points), finite_or_zero(evaluation.gradient)
    value = evaluation.climbed
    better = value > climb.best_value
    return replace(
        climb,
        gradient=gradient,
        value=value,
        rises=climb.rises + xp.astype(value > climb.value, climb.rises.dtype),
        best_points=where_sample(better, climb.points, climb.best_points),
        best_gradient=where_sample(better, gradient, climb.best_gradient),
        best_value=xp.where(better, value, climb.best_value),
    )


def _judge_step_size(climb: _Climb, steps_since: int) -> _Climb:
    xp = namespace(climb.points)
    seldom_rose = climb.rises < _RISES * steps_since
    nothing_new = ~climb.halved & (climb.checkpoint_value >= climb.best_value)
    halve = seldom_rose | nothing_new
    return replace(
        climb,
        step_size=xp.where(halve, 0.5 * climb.step_size, climb.step_size),
        points=where_sample(halve, climb.best_points, climb.points),
        gradient=where_sample(halve, climb.best_gradient, climb.gradient),
        value=xp.where(halve, climb.best_value, climb.value),
        rises=xp.zeros_like(climb.rises),
        halved=halve,
        checkpoint_value=climb.best_value,
    )


def _move(climb: _Climb, threat: Threat, *, momentum: float) -> _Climb:
    points, clean, eps = climb.points, climb.clean, climb.eps
    step = threat.step(climb.gradient, climb.step_size, points=points, eps=eps)
    stepped = admissible(points + step, clean, threat, eps)
    moved = points + momentum * (stepped - points) + (1.0 - momentum) * (points - climb.previous)
    return replace(climb, points=admissible(moved, clean, threat, eps), previous=points)
