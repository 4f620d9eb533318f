"""Whether the gradient that attacks follow is the slope of what is served.

Athalye et al. (arXiv 1802.00420, section 2.2) call a gradient shattered that is there and leads nowhere: the
answers change otherwise than it promises. Central differences of the served logits show it in a few forward
passes, and the larger the image, the sooner: the steepest direction adds up all values.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from probes.arrays import Array, finite_or_zero, per_sample
from probes.attacks.noise import noisy
from probes.classifier import Gradient
from probes.findings import batch_rows
from probes.ladder import Ladder
from probes.losses import Loss, loss_and_cotangent
from probes.random import normal
from probes.report import Check
from probes.threat import L2, Threat

SCALE = 1 / 16
"""How far the differences reach to either side, in multiples of eps: half of a step of the default attack.
Over a tenth of it rounding would show, and over several times as much the kinks of honest networks."""
RANDOM_DIRECTIONS = 4
INNER_POINTS = 2
FORWARDS = 2 * (1 + INNER_POINTS) * (1 + RANDOM_DIRECTIONS)
OFF_STEEPEST, OFF_RANDOM = 0.25, 0.4
"""What promises may be off by, in parts of the change. Honest networks were off by up to 0.13 and 0.21 in
balls that held. A gradient that points the wrong way for two values in seven is off by 0.6 and 0.75, one that
hides every second value by 0 and 0.65."""
_ROUNDED = 2.0**-18
"""What float32 may make of the largest logit from one end of a difference to the other."""
_TINY = 1e-12
_NOISE_DRAW = 1_000
_DIRECTIONS = 2_000_000
"""Streams of random numbers that nothing else reads."""


class _Tangents(NamedTuple):
    points: Array
    """float32[P, C, H, W]: the clean image, a single step's end, and noise."""
    gradients: Array
    """float32[P, C, H, W] of the losses there."""
    cotangents: Array
    """float64[P, K]: the losses' derivatives by the logits, of which the gradients are the pullbacks."""


def gradient_is_the_slope(ladder: Ladder, eps: float, *, clean: Gradient, loss: Loss) -> Check | None:
    """Along its own steepest direction and along random ones, at the image and at two points inside of the
    ball of `eps`, the gradient promises the change that the served logits show; None where time ran out.

    Logits are weighted by the derivative of the loss at the point, so that curved losses count for nothing.

    Args:
        clean: of the margin, at the clean image.
        loss: what the attack climbs first.
    """
    if ladder.budget.stop():
        return None
    tangents = _tangents(ladder, eps, clean, loss)
    moves = _moves(ladder, eps, tangents)
    ahead = np.clip(tangents.points[:, None] + moves, 0.0, 1.0)
    behind = np.clip(tangents.points[:, None] - moves, 0.0, 1.0)
    shape = tangents.points.shape[1:]
    ends = np.stack([ahead, behind]).reshape(-1, *shape)
    answers = _answers(ladder, ends, eps)
    if answers is None:
        return None
    logits = answers.astype(np.float64).reshape(2, *moves.shape[:2], -1)
    apart = ahead.astype(np.float64) - behind
    promised = np.einsum("pdchw,pchw->pd", apart, tangents.gradients.astype(np.float64))
    found = np.einsum("pdk,pk->pd", logits[0] - logits[1], tangents.cotangents)
    # Of a saturated loss too little is left to be compared with another's: all count in logits.
    shares = np.abs(tangents.cotangents)
    weight = np.sum(shares, axis=1, keepdims=True)
    weight = np.where(weight > 0, weight, 1.0)
    largest = np.max(np.abs(logits), axis=(0, 2))
    rounded = _ROUNDED * float(np.max(np.sum(largest * shares / weight, axis=1)))
    return _check(promised / weight, found / weight, rounded)


def _answers(ladder: Ladder, points: Array, eps: float) -> Array | None:
    """Logits [M, K] of points inside the ball of `eps`, batch by batch; None where time ran out. What they
    reach counts like anything else."""
    rows = batch_rows(ladder.findings.clean)
    parts: list[Array] = []
    for first in range(0, len(points), rows):
        if ladder.budget.stop():
            return None
        batch = points[first : first + rows]
        parts.append(ladder.findings.judge(batch, np.full((len(batch),), eps)).logits)
    return np.concatenate(parts)


def promised_rise(ladder: Ladder, eps: float, gradient: Gradient) -> float:
    """By how much a loss with this `gradient` at the clean image climbs within `eps` if it is linear."""
    clean = ladder.findings.clean[None]
    length = np.full((1,), eps, dtype=np.float32)
    slope = finite_or_zero(gradient.gradient)
    step = ladder.threat.step(slope, length, points=clean, eps=length)
    move = np.clip(clean + step, 0.0, 1.0) - clean
    return float(np.sum(move.astype(np.float64) * slope))


def _check(promised: Array, found: Array, rounded: float) -> Check:
    """From promised and measured changes float64[P, 1 + R], the steepest direction first."""
    off = np.maximum(np.abs(promised - found) - rounded, 0.0)
    size = np.maximum(np.abs(promised), np.abs(found))
    if np.all(size <= rounded):
        detail = "the ball is too small for the slope to be measured"
        return Check(check="gradient_is_the_slope", passed=True, detail=detail)
    steepest = _share(np.sum(off[:, 0]), np.sum(size[:, 0]))
    random = _share(np.sqrt(np.sum(off[:, 1:] ** 2)), np.sqrt(np.sum(size[:, 1:] ** 2)))
    return Check(
        check="gradient_is_the_slope",
        # Not "off by more than": the logits may be no numbers.
        passed=steepest <= OFF_STEEPEST and random <= OFF_RANDOM,
        detail=f"what the gradient promises is off by {steepest:.0%} in its steepest direction and by "
        f"{random:.0%} in random ones",
    )


def _share(part: float, whole: float) -> float:
    return float(part / whole) if part else 0.0


def _tangents(ladder: Ladder, eps: float, clean: Gradient, loss: Loss) -> _Tangents:
    goal, image = ladder.findings.goal, ladder.findings.clean[None]
    # The differences reach further, and stay inside.
    radius = np.full((1,), eps * (1.0 - 2.0 * SCALE), dtype=np.float32)
    step = ladder.threat.step(finite_or_zero(clean.gradient), radius, points=image, eps=radius)
    noise = noisy(
        image,
        threat=ladder.threat,
        eps=radius,
        draw=_NOISE_DRAW,
        seed=ladder.seed,
        samples=np.zeros((1,), dtype=np.int64),
    )
    inner = np.concatenate([np.clip(image + step, 0.0, 1.0), noise])
    climbed = np.full((len(inner),), int(loss), dtype=np.int64)
    ladder.budget.gradient_evaluations += len(inner)
    other = ladder.classifier.gradient(inner, goal.labels(inner), goal.targets(inner), climbed)
    points = np.concatenate([image, inner])
    logits = np.concatenate([clean.logits, other.logits]).astype(np.float64)
    numbers = np.concatenate([[int(Loss.MARGIN)], climbed])
    _, cotangents = loss_and_cotangent(logits, goal.labels(points), goal.targets(points), numbers)
    gradients = finite_or_zero(np.concatenate([clean.gradient, other.gradient]))
    return _Tangents(points, gradients, cotangents)


def _moves(ladder: Ladder, eps: float, tangents: _Tangents) -> Array:
    """float32[P, 1 + R, C, H, W]: moves along the gradient and along random directions."""
    points, count = tangents.points, len(tangents.points)
    samples = np.arange(count, dtype=np.int64)
    directions = [tangents.gradients] + [
        normal(points, seed=ladder.seed, samples=samples, restart=_DIRECTIONS + number)
        for number in range(RANDOM_DIRECTIONS)
    ]
    length = np.full((count,), SCALE * eps, dtype=np.float32)
    steps = [_spread(ladder.threat, each, length) for each in directions]
    return np.stack(steps, axis=1)


def _spread(threat: Threat, direction: Array, length: Array) -> Array:
    """A move of norm `length` [N] over all values: in l1 an attack's step moves a few values so far that no
    honest slope lasts."""
    if threat.norm != "l1":
        return threat.step(direction, length)
    move = L2().step(direction, np.ones_like(length))
    return move * per_sample(length / np.maximum(threat.size(move), _TINY), move)
