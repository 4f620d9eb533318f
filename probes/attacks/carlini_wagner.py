"""The l2 attack of Carlini and Wagner (arXiv 1608.04644, section VI-A) with a fixed trade-off."""

from __future__ import annotations

from probes.arrays import Array, flatten, indices, namespace, per_sample, where_sample
from probes.attacks.result import AttackResult, nothing_found
from probes.objective import Objective

_BETA_1, _BETA_2, _ADAM_EPS = 0.9, 0.999, 1e-8
_INSIDE = 1.0 - 1e-6
"""The box is open under tanh: pixels of 0 and 1 would be infinitely far away."""


def carlini_wagner(
    objective: Objective,
    images: Array,
    *,
    trade_off: float = 1.0,
    confidence: float = 0.0,
    steps: int = 50,
    learning_rate: float = 0.01,
) -> AttackResult:
    """Minimise ||x' - x||^2 + trade_off * max(z_y - max_{k != y} z_k, -confidence) by Adam, in the box.

    x' = (1 + tanh w) / 2 needs no projection. The perturbation is as large as it turns out to be: there is no
    eps. Of the points that reach the goal the nearest is kept; without one, the image, as torchattacks does.

    Args:
        objective: must climb the margin (`probes.losses.Loss.MARGIN`) and be separable.
        images: float32[N, C, H, W] in [0, 1].

    Returns:
        Images, minus their squared distances (larger is better; -inf without a success), and whether the goal
        is reached.
    """
    xp, rows = namespace(images), indices(images)
    best = nothing_found(images)
    w = xp.atanh((2.0 * images - 1.0) * _INSIDE)
    first, second = xp.zeros_like(w), xp.zeros_like(w)
    for step in range(1, steps + 1):
        half = xp.tanh(w)
        points = 0.5 * (1.0 + half)
        evaluation = objective(points, rows)
        _keep_nearest(best, images, points, evaluation.adversarial)
        pushing = xp.astype(evaluation.value < confidence, images.dtype)
        by_points = 2.0 * (points - images) - trade_off * per_sample(pushing, images) * evaluation.gradient
        gradient = by_points * 0.5 * (1.0 - half * half)
        first = _BETA_1 * first + (1.0 - _BETA_1) * gradient
        second = _BETA_2 * second + (1.0 - _BETA_2) * gradient * gradient
        mean, square = first / (1.0 - _BETA_1**step), second / (1.0 - _BETA_2**step)
        w = w - learning_rate * mean / (xp.sqrt(square) + _ADAM_EPS)
    return best


def _keep_nearest(best: AttackResult, images: Array, points: Array, adversarial: Array) -> None:
    xp = namespace(images)
    nearness = -xp.sum(flatten(points - images) ** 2, axis=1)
    nearer = adversarial & (nearness > best.value)
    best.images[...] = where_sample(nearer, points, best.images)
    best.value[...] = xp.where(nearer, nearness, best.value)
    best.adversarial[...] = best.adversarial | adversarial
