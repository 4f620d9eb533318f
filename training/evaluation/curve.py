"""Accuracy over eps."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count, takewhile

from torch import Tensor

from probes.threat import Norm, diameter
from training.classifier import TorchClassifier
from training.evaluation.attacks import Attack, noise_attack, pgd_attack
from training.evaluation.figures import Curve, CurvePoint

GREY = 0.5
"""At this eps in l-inf any image can be made grey: whoever stays right beyond it hides the gradient."""
_BELOW = (0.25, 0.5, 0.75, 1.0)
_STEPS = 50
_NOISE_DRAWS = 10

Under = Callable[[str, Attack, Tensor, float], Tensor]
"""(name on the screen, attack, bool[N] to attack, eps) to the bool[N] that stands."""


def largest_eps(norm: Norm, values: int) -> float:
    """The eps that can turn any image of `values` values grey."""
    return GREY * diameter(norm, values)


def sizes(eps: float, largest: float) -> tuple[float, ...]:
    """Where the curve is measured, as far as anything stands: quarters of `eps` up to it, then 1.5, 2, 3, 4,
    6, 8, ... times it up to `largest`. Beyond eps equal ratios are enough: what counts there is where nothing
    stands.
    """
    beyond = (factor * 2**power * eps for power in count() for factor in (1.5, 2.0))
    last = (largest,) if largest > eps else ()
    return (*(share * eps for share in _BELOW), *takewhile(lambda size: size < largest, beyond), *last)


def measure_curve(
    classifier: TorchClassifier,
    clean: Tensor,
    *,
    norm: Norm,
    eps: float,
    values: int,
    seed: int,
    under: Under,
) -> Curve:
    """PGD with one restart, and the worst of ten draws of noise, at each of `sizes` until PGD leaves nothing.

    Each eps is attacked afresh on all of bool[N] `clean`, so a curve that rises shows itself.
    """
    accuracy = float(clean.double().mean())
    points = [CurvePoint(eps=0.0, attacked=accuracy, noise=accuracy)]
    for size in sizes(eps, largest_eps(norm, values)):
        pgd = pgd_attack(classifier, (norm, size), steps=_STEPS, restarts=1, seed=seed)
        noise = noise_attack(classifier, (norm, size), draws=_NOISE_DRAWS, seed=seed)
        attacked = under(f"curve: pgd, eps {size:.3g}", pgd, clean, size)
        left = under(f"curve: noise, eps {size:.3g}", noise, clean, size)
        point = CurvePoint(
            eps=size, attacked=float(attacked.double().mean()), noise=float(left.double().mean())
        )
        points.append(point)
        if not bool(attacked.any()):
            break
    return Curve(attack=f"pgd-{_STEPS}", norm=norm, n=len(clean), points=tuple(points))
