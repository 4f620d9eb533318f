"""How the Square attack moves: for l-inf and l2 by algorithms 2 and 3 of arXiv 1912.00049, for l1 as in l2
with the changes of arXiv 2103.01208.

Every sample has its own squares, drawn from its own random numbers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import array_api_compat
import numpy as np

from probes import random
from probes.arrays import Array, flatten, namespace, per_sample
from probes.threat import L1, L2, admissible

_TINY = 1e-12
_TILES = 5
"""The first pattern in l2 and l1 is a grid of this many tiles a side."""


@dataclass(frozen=True, slots=True)
class LinfSquares:
    """Stripes of +-eps at first, then one square a move, each of its channels at +eps or -eps."""

    def first(self, clean: Array, eps: Array, *, seed: int, samples: Array, restart: int) -> Array:
        uniform = random.uniform(clean[:, :, :1, :], seed=seed, samples=samples, restart=restart)
        return namespace(clean).clip(clean + per_sample(eps, clean) * _signs(uniform), 0.0, 1.0)

    def numbers(self, channels: int) -> int:
        return 2 + channels

    def next(self, points: Array, clean: Array, eps: Array, *, share: float, uniform: Array) -> Array:
        xp = namespace(clean)
        height, width = clean.shape[2:]
        side = min(max(round(math.sqrt(share * height * width)), 1), height, width)
        window = _Window.drawn(clean, side, uniform[:, :2])
        signs = _signs(uniform[:, 2:])[:, :, None, None]
        # A change of 2 eps projected onto the ball ends on its face, wherever it began.
        return xp.where(window.inside, xp.clip(clean + per_sample(eps, clean) * signs, 0.0, 1.0), points)


@dataclass(frozen=True, slots=True)
class Windows:
    """Tiles at first; then each move empties one window and spends its norm, and what the ball has left, on a
    bump of two signs in another.

    In l1 every channel spends what all channels have together, and the projection on ball and box, which
    leaves the largest changes, takes the excess away.
    """

    power: Literal[1, 2]
    """1 for l1, 2 for l2."""

    def first(self, clean: Array, eps: Array, *, seed: int, samples: Array, restart: int) -> Array:
        xp = namespace(clean)
        height, width = clean.shape[2:]
        # Images smaller than the grid have fewer tiles.
        side = max(min(height, width) // _TILES, min(3, height, width))
        down, across = height // side, width // side
        uniform = random.uniform(clean[:, :, :down, :across], seed=seed, samples=samples, restart=restart)
        rows, columns = _places(clean, down * side), _places(clean, across * side)
        tile = _to_library(bump(side, self.power), clean)[(rows % side)[:, None], (columns % side)[None, :]]
        signs = _signs(uniform)[:, :, (rows // side)[:, None], (columns // side)[None, :]]
        delta = xp.zeros_like(clean)
        top, left = (height - down * side) // 2, (width - across * side) // 2
        delta[:, :, top : top + down * side, left : left + across * side] = tile * signs
        return self._filling(delta, clean, eps)

    def numbers(self, channels: int) -> int:
        return 5 + channels

    def next(self, points: Array, clean: Array, eps: Array, *, share: float, uniform: Array) -> Array:
        xp = namespace(clean)
        height, width = clean.shape[2:]
        side = max(round(math.sqrt(share * height * width)), 3)
        side = min(side + 1 - side % 2, height, width)
        filled = _Window.drawn(clean, side, uniform[:, :2])
        emptied = _Window.drawn(clean, side, uniform[:, 2:4])
        delta, nothing = points - clean, xp.zeros_like(clean)
        old = xp.where(filled.inside, delta, nothing)
        both = xp.where(filled.inside | emptied.inside, delta, nothing)
        unused = xp.clip(eps**self.power - xp.sum(abs(flatten(delta)) ** self.power, axis=1), min=0.0)
        available = self._channel_sum(both) + per_sample(unused, clean) / clean.shape[1]
        signs = _signs(uniform[:, 5:])[:, :, None, None]
        new = signs * filled.pattern(bump(side, self.power), transposed=uniform[:, 4] < 0.5)
        new = new + old / (self._channel_norm(old) + _TINY)
        spent = available**0.5 if self.power == 2 else available * clean.shape[1]
        new = new / (self._channel_norm(new) + _TINY) * spent
        delta = xp.where(filled.inside, new, xp.where(emptied.inside, nothing, delta))
        return self._filling(delta, clean, eps)

    def _filling(self, delta: Array, clean: Array, eps: Array) -> Array:
        """Points whose perturbation fills the ball: clipping to the box shortened what came before."""
        xp = namespace(clean)
        if self.power == 2:
            return xp.clip(clean + L2().step(delta, eps), 0.0, 1.0)
        longer = xp.clip(eps / xp.clip(L1().size(delta), min=_TINY), min=1.0)
        return admissible(clean + delta * per_sample(longer, clean), clean, L1(), eps)

    def _channel_sum(self, delta: Array) -> Array:
        """float32[M, C, 1, 1]."""
        return namespace(delta).sum(abs(delta) ** self.power, axis=(2, 3), keepdims=True)

    def _channel_norm(self, delta: Array) -> Array:
        return self._channel_sum(delta) ** (1 / self.power)


def bump(side: int, power: Literal[1, 2]) -> Array:
    """A square of two halves of opposite sign, each a heap of concentric squares, of l2 (l1) norm 1 (figure
    3): float32[side, side]."""
    upper = side // 2
    pattern = np.concatenate([_heap(upper, side, power), -_heap(side - upper, side, power)])
    return np.asarray(_normed(pattern, power), dtype=np.float32)


def _heap(height: int, width: int, power: Literal[1, 2]) -> Array:
    """sum of 1 / (j + 1)^2 over j = d, ..., n at distance d (largest coordinate) from the middle, of norm 1:
    float64[height, width]. In l1 heaps are steeper, by the fourth power."""
    middle_row, middle_column = height // 2, width // 2
    rings = max(middle_row, middle_column) + 1
    down, across = np.abs(np.arange(height) - middle_row), np.abs(np.arange(width) - middle_column)
    terms = 1.0 / np.arange(1, rings + 1) ** (2 if power == 2 else 4)
    levels = np.cumsum(terms[::-1])[::-1]
    heap = levels[np.maximum(down[:, None], across[None, :])]
    return _normed(heap, power) if heap.size else heap


def _normed(pattern: Array, power: int) -> Array:
    return pattern / np.sum(np.abs(pattern) ** power) ** (1 / power)


@dataclass(frozen=True, slots=True)
class _Window:
    """A square of each sample's image."""

    down: Array
    """int64[M, H]: each row's place within the square, counted from its top."""
    across: Array
    """int64[M, W], from its left."""
    side: int

    @classmethod
    def drawn(cls, images: Array, side: int, uniform: Array) -> _Window:
        """Placed by uniform float32[M, 2] anywhere inside the image."""
        xp = namespace(images)
        height, width = images.shape[2:]
        top = xp.astype(uniform[:, 0] * (height - side + 1), xp.int64)[:, None]
        left = xp.astype(uniform[:, 1] * (width - side + 1), xp.int64)[:, None]
        return cls(_places(images, height)[None, :] - top, _places(images, width)[None, :] - left, side)

    @property
    def inside(self) -> Array:
        """bool[M, 1, H, W]."""
        down = (self.down >= 0) & (self.down < self.side)
        across = (self.across >= 0) & (self.across < self.side)
        return (down[:, :, None] & across[:, None, :])[:, None]

    def pattern(self, pattern: Array, *, transposed: Array) -> Array:
        """NumPy's `pattern` [side, side] at each sample's square, transposed where bool[M] says so, and zeros
        around it: float32[M, 1, H, W]."""
        xp = namespace(self.down)
        down = xp.clip(self.down, 0, self.side - 1)[:, :, None]
        across = xp.clip(self.across, 0, self.side - 1)[:, None, :]
        values = _to_library(pattern, self.down)
        placed = xp.where(transposed[:, None, None], values[across, down], values[down, across])[:, None]
        return xp.where(self.inside, placed, xp.zeros_like(placed))


def _signs(uniform: Array) -> Array:
    xp = namespace(uniform)
    ones = xp.ones_like(uniform)
    return xp.where(uniform < 0.5, -ones, ones)


def _places(like: Array, count: int) -> Array:
    xp: Any = namespace(like)
    return xp.arange(count, dtype=xp.int64, device=array_api_compat.device(like))


def _to_library(values: Array, like: Array) -> Array:
    """A NumPy array as an array of the library and on the device of `like`."""
    return namespace(like).asarray(values, device=array_api_compat.device(like))
