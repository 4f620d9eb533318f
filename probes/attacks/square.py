"""Square attack (Andriushchenko et al., arXiv 1912.00049): random search, no gradients."""

from __future__ import annotations

import math
from typing import Protocol

from probes import random
from probes.arrays import Array, indices, namespace, where_sample
from probes.attacks.result import AttackResult, OnQuery, Queried, keep_worst, nothing_found
from probes.attacks.square_moves import LinfSquares, Windows
from probes.budget import Budget
from probes.objective import Query
from probes.threat import Norm, Threat

_HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
"""The queries out of 10000 after which the squares' area is halved (section 3.2)."""
_FIRST_PURPOSE = 1024
"""Random streams from here on are the squares' places and signs."""
_DRAWN_TOGETHER = 100
"""Queries whose random numbers are drawn at once: a draw costs about as much as a small model does."""


class Moves(Protocol):
    """How the attack moves inside one threat model. All points lie inside the ball and [0, 1]."""

    def first(self, clean: Array, eps: Array, *, seed: int, samples: Array, restart: int) -> Array:
        """The pattern that a restart begins with, around `clean` float32[M, C, H, W], keyed by (seed, sample,
        restart)."""

    def numbers(self, channels: int) -> int:
        """How many uniform random numbers one move takes."""

    def next(self, points: Array, clean: Array, eps: Array, *, share: float, uniform: Array) -> Array:
        """`points` moved within squares of `share` of the image's area, by uniform float32[M, numbers]."""


def square(
    query: Query,
    images: Array,
    *,
    threat: Threat,
    eps: Array,
    queries: int,
    first_share: float = 0.8,
    restarts: int = 1,
    seed: int = 0,
    samples: Array | None = None,
    early_stop: bool = False,
    budget: Budget | None = None,
    on_query: OnQuery | None = None,
) -> AttackResult:
    """Change one random square at a time and keep what raises the value.

    All points lie in the ball of radius eps around `images`, cut with [0, 1]; the worst is returned. More
    restarts never find less.

    Args:
        query: the margin (`probes.losses.Loss.MARGIN`) is what the paper climbs.
        images: float32[N, C, H, W] in [0, 1].
        eps: float32[N], radius of each sample's ball; 0 gives the image back.
        queries: how many a restart asks about a sample, the first pattern included. The squares shrink on the
            paper's schedule of 10000, scaled to this number.
        first_share: p, the share of the image's area that the first squares cover, in (0, 1].
        samples: int64[N], lasting identities that key the random numbers; 0 ... N-1 without them.
        early_stop: leave a sample alone once its goal is reached.
        budget: asked before every query; when it says stop, the worst points so far are returned.
        on_query: told about every query.

    Raises:
        ValueError: if queries or restarts is not positive, or first_share not in (0, 1].
    """
    if queries < 1 or restarts < 1:
        raise ValueError(f"queries and restarts must be at least 1, not {queries} and {restarts}")
    if not 0.0 < first_share <= 1.0:
        raise ValueError(f"first_share must be in (0, 1], not {first_share}")
    moves, budget = _moves_within(threat.norm), budget or Budget()
    xp, everyone = namespace(images), indices(images)
    samples = everyone if samples is None else samples
    best = nothing_found(images)
    for restart in range(restarts):
        rows = everyone[~best.adversarial] if early_stop else everyone
        if rows.shape[0] == 0:
            break
        clean = images[rows]
        current = moves.first(clean, eps[rows], seed=seed, samples=samples[rows], restart=restart)
        value = xp.full_like(eps[rows], -xp.inf)
        drawn = clean
        for number in range(queries):
            if budget.stop():
                break
            points, place = current, number % _DRAWN_TOGETHER
            if place == 0:
                purpose = _FIRST_PURPOSE + number // _DRAWN_TOGETHER
                shape = (rows.shape[0], _DRAWN_TOGETHER, moves.numbers(images.shape[1]))
                like = xp.broadcast_to(eps[rows][:, None, None], shape)
                drawn = random.uniform(
                    like, seed=seed, samples=samples[rows], restart=restart, purpose=purpose
                )
            if number > 0:
                share = _share(first_share, (number - 1) / queries)
                points = moves.next(current, clean, eps[rows], share=share, uniform=drawn[:, place])
            answer = query(points, rows)
            keep_worst(best, rows, points, answer)
            if on_query is not None:
                on_query(Queried(restart, number, rows, points, answer))
            better = answer.value > value
            current, value = where_sample(better, points, current), xp.where(better, answer.value, value)
            if early_stop:
                going = ~answer.adversarial
                rows, clean, current, value, drawn = (
                    array[going] for array in (rows, clean, current, value, drawn)
                )
                if rows.shape[0] == 0:
                    break
    return best


def _share(first: float, progress: float) -> float:
    """The share of the area that a square covers once `progress` in [0, 1) of the queries is over."""
    return float(first / 2 ** sum(math.floor(10000 * progress) > after for after in _HALVINGS))


def _moves_within(norm: Norm) -> Moves:
    moves: dict[Norm, Moves] = {"linf": LinfSquares(), "l2": Windows(2), "l1": Windows(1)}
    return moves[norm]
