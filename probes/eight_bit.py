"""Rounding to 8 bits without leaving the ball: what an uploaded file could carry."""

from __future__ import annotations

import numpy as np

from probes.arrays import Array
from probes.ball import TOLERANCE, norms
from probes.threat import Norm

_HALVINGS = 8
_ON_GRID = 1e-4
"""How far from a whole level an 8-bit image may lie, in levels: decoders divide by 255 in different ways."""


def to_levels(image: Array) -> Array:
    """The nearest 8-bit levels of an image in [0, 1]: uint8."""
    return np.rint(np.asarray(image, dtype=np.float64) * 255.0).astype(np.uint8)


def from_levels(levels: Array) -> Array:
    """uint8 levels as float32 in [0, 1], as an 8-bit file is read."""
    return levels.astype(np.float32) / np.float32(255.0)


def is_eight_bit(image: Array) -> bool:
    """Whether `image` in [0, 1] lies on the 8-bit grid."""
    return bool(np.max(np.abs(image - from_levels(to_levels(image)))) * 255.0 < _ON_GRID)


def eight_bit_distance(levels: Array, clean: Array, norm: Norm) -> float:
    """The distance of 8-bit `levels` from `clean` [C, H, W] in [0, 1], exact in whole levels where `clean` is
    8-bit."""
    return float(norms((levels - _clean_levels(clean))[None], norm)[0]) / 255.0


def round_inside(image: Array, clean: Array, radius: float, norm: Norm) -> Array | None:
    """An 8-bit image near `image` whose distance from `clean` is at most `radius`, or None where there is
    none nearby.

    Every value goes to one of the two levels around it. Starting from the level nearer to `clean`, which for
    an 8-bit clean image never adds distance, values go to the level nearer to `image` as far as the ball has
    room: for l-inf each on its own, for l2 and l1 in the order of how much each rounding gains for the room
    it takes. There many values may move by less than half a level, which rounding would lose: the
    perturbation is stretched first until it is as long after rounding as it was before.

    Args:
        image: float32[C, H, W] in [0, 1], usually inside the ball.
        clean: float32[C, H, W] in [0, 1], on the 8-bit grid or not.
        radius: in [0, 1] pixel units.

    Returns:
        uint8[C, H, W]. The distance is measured, not assumed.
    """
    centre = _clean_levels(clean)
    wanted = np.asarray(image, dtype=np.float64) * 255.0
    if norm != "linf":
        wanted = _stretched(wanted, centre, norm)
    low, high = np.floor(wanted), np.ceil(wanted)
    near = np.where(np.abs(low - centre) <= np.abs(high - centre), low, high)
    nearest = np.rint(wanted)
    limit = (radius + TOLERANCE) * 255.0
    if norm == "linf":
        levels = np.where(np.abs(nearest - centre) <= limit, nearest, near)
    else:
        levels = _fill(near, nearest, centre, wanted, limit, power=2 if norm == "l2" else 1)
    if float(norms((levels - centre)[None], norm)[0]) > limit:
        return None
    return levels.astype(np.uint8)


def _stretched(wanted: Array, centre: Array, norm: Norm) -> Array:
    """`wanted`, or farther away from `centre` in the same direction, so far that its rounding is no nearer
    than `wanted` is."""
    direction = wanted - centre

    def stretched(factor: float) -> Array:
        return np.clip(centre + factor * direction, 0.0, 255.0)

    def is_short(factor: float) -> bool:
        return bool(_size(np.rint(stretched(factor)) - centre, norm) < size)

    size = _size(direction, norm)
    low, high = 1.0, 1.0
    while is_short(high) and high * np.max(np.abs(direction)) < 1.0:
        low, high = high, 2.0 * high
    for _ in range(_HALVINGS if high > 1.0 else 0):
        middle = (low + high) / 2.0
        low, high = (middle, high) if is_short(middle) else (low, middle)
    return stretched(high)


def _size(delta: Array, norm: Norm) -> float:
    return float(norms(delta[None], norm)[0])


def _fill(near: Array, nearest: Array, centre: Array, wanted: Array, limit: float, *, power: int) -> Array:
    taken_up = np.abs(near - centre) ** power
    cost = np.abs(nearest - centre) ** power - taken_up
    gain = np.abs(near - wanted) - np.abs(nearest - wanted)
    order = np.argsort((-gain / np.maximum(cost, 1.0)).ravel(), kind="stable")
    room = limit**power - float(np.sum(taken_up))
    spent = np.cumsum(np.maximum(cost, 0.0).ravel()[order])
    taken = np.zeros(near.size, dtype=bool)
    taken[order[spent <= room]] = True
    return np.where(taken.reshape(near.shape), nearest, near)


def _clean_levels(clean: Array) -> Array:
    """`clean` in levels: whole numbers where it is an 8-bit image, so that distances are exact."""
    return (
        to_levels(clean).astype(np.float64) if is_eight_bit(clean) else np.asarray(clean, np.float64) * 255.0
    )
