"""Random noise of the attack's size: the control that an attack must beat."""

from __future__ import annotations

from probes.arrays import Array, indices, namespace
from probes.attacks.result import AttackResult, keep_worst, nothing_found
from probes.budget import Budget
from probes.objective import Objective
from probes.threat import Threat

RESTART_OFFSET = 1_000_000
"""Noise draws are keyed as restarts from here on, so they are never an attack's random starts."""


def noisy(images: Array, *, threat: Threat, eps: Array, draw: int, seed: int = 0, samples: Array) -> Array:
    """`images` with draw number `draw` of uniform noise from each sample's ball, clipped to [0, 1]."""
    noise = threat.random_start(images, eps, seed=seed, samples=samples, restart=RESTART_OFFSET + draw)
    return namespace(images).clip(images + noise, 0.0, 1.0)


def random_noise(
    objective: Objective,
    images: Array,
    *,
    threat: Threat,
    eps: Array,
    draws: int = 1,
    seed: int = 0,
    samples: Array | None = None,
    budget: Budget | None = None,
) -> AttackResult:
    """The worst of `draws` perturbations drawn uniformly from each sample's ball."""
    budget = budget or Budget()
    rows = indices(images)
    samples = rows if samples is None else samples
    best = nothing_found(images)
    for draw in range(draws):
        if budget.stop():
            break
        points = noisy(images, threat=threat, eps=eps, draw=draw, seed=seed, samples=samples)
        keep_worst(best, rows, points, objective(points, rows))
    return best
