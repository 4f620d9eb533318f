"""Fast Minimum-Norm attack (Pintor, Roli, Brendel and Biggio, arXiv 2102.12827, algorithm 1)."""

from __future__ import annotations

import math
from typing import NamedTuple

from probes.arrays import Array, finite_or_zero, full_like_samples, indices, namespace, where_sample
from probes.attacks.result import OnStep, Step
from probes.budget import Budget
from probes.objective import Objective
from probes.threat import Threat, admissible

_LAST_STEP_SIZE = 0.05
"""The last step size as a share of the first."""
_LAST_GAMMA = 0.001


class Nearest(NamedTuple):
    """The nearest adversarial point that was found for each sample."""

    images: Array
    """float32[N, C, H, W] in [0, 1]; the clean image where none was found."""
    size: Array
    """float32[N], the norm of the perturbation; infinite where none was found."""
    adversarial: Array
    """bool[N]: one was found."""


def fmn(
    objective: Objective,
    images: Array,
    *,
    threat: Threat,
    steps: int,
    step_size: float = 1.0,
    gamma: float = 0.1,
    max_eps: float = math.inf,
    start: Array | None = None,
    budget: Budget | None = None,
    on_step: OnStep | None = None,
) -> Nearest:
    """Look for the nearest point that reaches the goal, by steps inside a ball whose radius follows the
    boundary.

    Each sample has its own radius. It shrinks by the factor 1 - gamma while the sample's point is
    adversarial and grows by 1 + gamma while it is not; before the first adversarial point it grows by the
    distance to the boundary, as the gradient estimates it, as well. Steps and gamma fall along half a cosine.

    Two things differ from the paper. It adds that distance to the perturbation's norm, not to the radius, and
    nothing more: where [0, 1] cuts the perturbation, or a boundary is curved, such a search comes ever closer
    and never arrives. And its steps have one l2 length for all images and threats; here they are the
    threat's steepest, as long as the sample's radius at first, so that a search of 20 steps, as a probe
    makes it, gets where boundaries are near and where they are far.

    Args:
        objective: must climb the margin (`probes.losses.Loss.MARGIN`), whose zero is the boundary.
        images: float32[N, C, H, W] in [0, 1].
        steps: a sample costs steps + 1 evaluations.
        step_size: length of the first step in multiples of the radius; the last one is a twentieth of it.
        gamma: by which share a radius changes at first; at last it is 0.001.
        max_eps: no radius grows beyond it.
        start: float32[N, C, H, W] in [0, 1], points to start from; the images without it.
        budget: asked before every evaluation; when it says stop, the nearest points so far are returned.
        on_step: told about every evaluation.

    Raises:
        ValueError: if steps is not positive.
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1, not {steps}")
    budget = budget or Budget()
    xp, rows = namespace(images), indices(images)
    infinite = full_like_samples(images, float("inf"))
    nearest = Nearest(images, infinite, xp.zeros_like(infinite, dtype=xp.bool))
    # No point of the box is farther away than its corners.
    farthest = xp.clip(threat.size(xp.maximum(images, 1.0 - images)), max=max_eps)
    points = images if start is None else start
    eps = threat.size(points - images)
    for step in range(steps + 1):
        if budget.stop():
            break
        evaluation = objective(points, rows)
        size = threat.size(points - images)
        nearest = _nearer(nearest, points, size, evaluation.adversarial)
        if on_step is not None:
            on_step(Step(0, step, rows, points, evaluation))
        if step == steps:
            break
        gradient = finite_or_zero(evaluation.gradient)
        change = _cosine(gamma, _LAST_GAMMA, step / steps)
        shrunk = xp.minimum(eps * (1.0 - change), nearest.size)
        ahead = _distance(evaluation.value, gradient, threat)
        grown = xp.where(nearest.adversarial, eps, eps + ahead) * (1.0 + change)
        eps = xp.where(evaluation.adversarial, shrunk, xp.minimum(grown, farthest))
        length = eps * _cosine(step_size, _LAST_STEP_SIZE * step_size, step / steps)
        move = threat.step(gradient, length, points=points, eps=eps)
        points = admissible(points + move, images, threat, eps)
    return nearest


def _nearer(nearest: Nearest, points: Array, size: Array, adversarial: Array) -> Nearest:
    nearer = adversarial & (size < nearest.size)
    return Nearest(
        where_sample(nearer, points, nearest.images),
        namespace(points).where(nearer, size, nearest.size),
        nearest.adversarial | adversarial,
    )


def _distance(value: Array, gradient: Array, threat: Threat) -> Array:
    """How far away the boundary is if the margin is linear; infinite where the gradient says nothing."""
    xp, slope = namespace(gradient), threat.dual_size(gradient)
    known = (slope > 0) & xp.isfinite(value)
    distance = abs(value) / xp.where(known, slope, xp.ones_like(slope))
    return xp.where(known, distance, xp.full_like(slope, xp.inf))


def _cosine(first: float, last: float, progress: float) -> float:
    """From `first` to `last` along half a cosine as `progress` goes from 0 to 1."""
    return last + (first - last) * (1.0 + math.cos(math.pi * progress)) / 2.0
