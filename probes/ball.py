"""Exact distances of NumPy images, and points that lie inside a ball beyond rounding."""

from __future__ import annotations

import numpy as np

from probes.arrays import Array
from probes.threat import Norm

TOLERANCE = 1e-9
"""Radii that differ by less are the same: 8/255 can be written in more than one way."""
_SUMMATION = 1e-9
"""Far more than sums of so many doubles are wrong by."""


def norms(deltas: Array, norm: Norm) -> Array:
    """The norm of each perturbation [M, ...] in double precision: float64[M]."""
    flat = np.asarray(deltas, dtype=np.float64).reshape(len(deltas), -1)
    if norm == "linf":
        return np.max(np.abs(flat), axis=1)
    if norm == "l1":
        return np.sum(np.abs(flat), axis=1)
    return np.sqrt(np.einsum("ij,ij->i", flat, flat))


def distances(images: Array, clean: Array, norm: Norm) -> Array:
    """The distance of each image [M, C, H, W] from `clean` [C, H, W]: float64[M]."""
    return norms(np.asarray(images, dtype=np.float64) - clean, norm)


def inside(images: Array, clean: Array, radii: Array, norm: Norm) -> Array:
    """`images` with every distance, measured in double precision, at most its radius.

    Attacks work in float32, where clean + delta may round to just outside of the ball. The correction is of
    the size of that rounding for images that an attack projected already.

    Args:
        images: float32[M, C, H, W] in [0, 1].
        clean: float32[C, H, W] in [0, 1].
        radii: float64[M].

    Returns:
        float32[M, C, H, W] in [0, 1].
    """
    return np.stack(
        [_inside(image, clean, float(radius), norm) for image, radius in zip(images, radii, strict=True)]
    )


def _inside(image: Array, clean: Array, radius: float, norm: Norm) -> Array:
    centre = np.asarray(clean, dtype=np.float64)
    if norm == "linf":
        low = _round_up(np.maximum(centre - radius, 0.0))
        high = _round_down(np.minimum(centre + radius, 1.0))
        return np.clip(image, low, high)
    size = float(distances(image[None], centre, norm)[0])
    if size <= radius:
        return image
    point = centre + (image - centre) * (radius / size * (1.0 - _SUMMATION))
    # Towards the centre, so that rounding never adds distance.
    return np.where(point > centre, _round_down(point), _round_up(point))


def _round_up(values: Array) -> Array:
    rounded = values.astype(np.float32)
    return np.where(rounded < values, np.nextafter(rounded, np.float32(2.0)), rounded)


def _round_down(values: Array) -> Array:
    rounded = values.astype(np.float32)
    return np.where(rounded > values, np.nextafter(rounded, np.float32(-1.0)), rounded)
