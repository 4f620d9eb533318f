"""RayS (Chen and Gu, arXiv 2006.12792): which corner of the cube around an image is decided otherwise nearest
to it, in l-inf, found by decisions alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple

import array_api_compat
import numpy as np

from probes.arrays import Array, flatten, full_like_samples, indices, namespace, where_sample
from probes.attacks.result import AttackResult, OnQuery, Queried, nothing_found
from probes.budget import Budget
from probes.objective import Query

_FARTHEST = 1.0
"""No two images are further apart in l-inf."""


def rays(
    query: Query,
    images: Array,
    *,
    eps: Array,
    queries: int,
    tolerance: float = 1e-4,
    early_stop: bool = False,
    budget: Budget | None = None,
    on_query: OnQuery | None = None,
) -> AttackResult:
    """Turn over the signs of a direction, block by block, and keep what brings the other decision nearer.

    The direction's values are all +1 at first. What is turned over is the whole, then its halves, quarters
    and so on down to single values, over the values of an image in their order; then it begins again with the
    whole. One query asks whether the new direction is decided otherwise at the smallest radius so far; only
    then is its own radius found, by halving. Nothing is drawn at random, and no sample depends on another.

    Beyond the paper: the image itself is asked about first, and a radius that is known to within `tolerance`
    only, with eps somewhere in between, is settled by asking at eps.

    Args:
        query: only `adversarial` of its answers is looked at.
        images: float32[N, C, H, W] in [0, 1].
        eps: float32[N], radius of each sample's l-inf ball; 0 gives the image back.
        queries: how many are asked about a sample, the one about the image itself included.
        tolerance: how exactly the radius in a direction is found, in [0, 1] pixels. A turn that brings the
            other decision nearer by less may be missed. The paper's 0.001 is of the l2 length, which for 32 x
            32 x 3 values makes 0.00002.
        early_stop: leave a sample alone once its goal is reached inside its ball.
        budget: asked before every query; when it says stop, what was found so far is returned.
        on_query: told about every query.

    Returns:
        The nearest point that reaches the goal, where that lies in the ball, cut with [0, 1]; elsewhere the
        clean image. The value is minus the smallest radius at which the goal was reached, in the ball or
        beyond it; -inf without any.

    Raises:
        ValueError: if queries or tolerance is not positive.
    """
    if queries < 1:
        raise ValueError(f"queries must be at least 1, not {queries}")
    if not tolerance > 0.0:
        raise ValueError(f"tolerance must be greater than 0, not {tolerance}")
    budget, best = budget or Budget(), nothing_found(images)
    blocks = _to_library(list(islice(_blocks(flatten(images).shape[1]), queries)), images)
    search = _Search.of(images, eps)
    for number in range(queries):
        if search.rows.shape[0] == 0 or budget.stop():
            break
        search = search.turned(blocks)
        radius = search.next_radius(tolerance)
        points = search.points(radius, images.shape)
        answer = query(points, search.rows)
        if on_query is not None:
            on_query(Queried(0, number, search.rows, points, answer))
        inside = answer.adversarial & (radius < search.radius) & (radius <= search.eps)
        search = search.told(radius, answer.adversarial, tolerance)
        best.images[search.rows] = where_sample(inside, points, best.images[search.rows])
        best.value[search.rows] = -search.radius
        best.adversarial[search.rows] = best.adversarial[search.rows] | inside
        search = search.open(early_stop=early_stop)
    return best


class _Search(NamedTuple):
    """How far the search is for each of the samples that it still goes on for. D values an image."""

    rows: Array
    """int64[M]: their places in the attack's batch."""
    clean: Array
    """float32[M, D]."""
    eps: Array
    """float32[M]."""
    best: Array
    """float32[M, D]: the direction of the smallest radius, of values -1 and +1."""
    radius: Array
    """float32[M]: the smallest at which the goal was reached; inf before."""
    turn: Array
    """int64[M]: how many directions were done with."""
    tried: Array
    """float32[M, D]: the direction that is asked about."""
    halving: Array
    """bool[M]: its radius is being found; otherwise it has to pass at the smallest radius first."""
    low: Array
    high: Array
    """float32[M]: between these lies its radius, where it is being found."""

    @classmethod
    def of(cls, images: Array, eps: Array) -> _Search:
        clean, rows, nothing = flatten(images), indices(images), full_like_samples(images, 0.0)
        xp = namespace(images)
        ones, never = xp.ones_like(clean), xp.zeros_like(nothing, dtype=xp.bool)
        farthest = xp.full_like(nothing, xp.inf)
        return cls(rows, clean, eps, ones, farthest, xp.zeros_like(rows), ones, never, nothing, nothing)

    def turned(self, blocks: Array) -> _Search:
        """With a new direction where the last one is done with: the best, but for one of int64[L, 2]
        `blocks`."""
        xp = namespace(self.clean)
        places = indices(self.clean[0])[None, :]
        block = blocks[self.turn]
        inside = (places >= block[:, :1]) & (places < block[:, 1:])
        turned = xp.where(inside, -self.best, self.best)
        return self._replace(tried=where_sample(self.halving, self.tried, turned))

    def next_radius(self, tolerance: float) -> Array:
        """Where to ask, float32[M]: the image itself, then the smallest radius, or between the bounds."""
        xp = namespace(self.radius)
        smallest = xp.clip(self.radius, max=_FARTHEST)
        check = xp.where(self.turn == 0, xp.zeros_like(smallest), smallest)
        middle = 0.5 * (self.low + self.high)
        between = xp.where(self.high - self.low > tolerance, middle, self.eps)
        return xp.where(self.halving, between, check)

    def points(self, radius: Array, shape: tuple[int, ...]) -> Array:
        """float32[M, C, H, W], inside [0, 1]."""
        xp = namespace(self.clean)
        moved = xp.clip(self.clean + radius[:, None] * self.tried, 0.0, 1.0)
        return xp.reshape(moved, (moved.shape[0], *shape[1:]))

    def told(self, radius: Array, reached: Array, tolerance: float) -> _Search:
        """After the answer bool[M], whether the goal is reached at `radius`."""
        xp = namespace(radius)
        nearer = reached & (radius < self.radius)
        low = xp.where(self.halving, xp.where(reached, self.low, radius), xp.zeros_like(radius))
        high = xp.where(reached, radius, self.high)
        unsettled = (high - low > tolerance) | ((low < self.eps) & (self.eps < high))
        halving = (self.halving | reached) & unsettled
        return self._replace(
            best=where_sample(nearer, self.tried, self.best),
            radius=xp.where(nearer, radius, self.radius),
            turn=self.turn + xp.astype(~halving, xp.int64),
            halving=halving,
            low=low,
            high=high,
        )

    def open(self, *, early_stop: bool) -> _Search:
        """Without the samples that nothing better can be found for, or that `early_stop` is content with."""
        xp = namespace(self.radius)
        going = self.radius > 0.0
        if early_stop:
            going = going & (self.radius > self.eps)
        return self if bool(xp.all(going)) else _Search(*(array[going] for array in self))


def _blocks(values: int) -> Iterator[tuple[int, int]]:
    """What is turned over from one direction to the next, from its first value to before its last: nothing
    for the image itself and for the first direction, then ever smaller blocks, again and again."""
    sizes = [values]
    while sizes[-1] > 1:
        sizes.append(-(-values // 2 ** len(sizes)))
    yield from ((0, 0), (0, 0))
    while True:
        for size in sizes:
            yield from ((start, min(start + size, values)) for start in range(0, values, size))


def _to_library(values: list[tuple[int, int]], like: Array) -> Array:
    xp: Any = namespace(like)
    return xp.asarray(np.asarray(values, dtype=np.int64), device=array_api_compat.device(like))
