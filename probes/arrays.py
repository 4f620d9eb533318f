"""The few array operations that attacks share beyond the array-API standard."""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import array_api_compat
import numpy as np

Array: TypeAlias = Any
"""A NumPy array or a torch tensor. Attacks never mix the two in one call."""


def namespace(*arrays: Array) -> Any:
    """The array-API namespace of `arrays` (NumPy's or torch's)."""
    # Attacks ask dozens of times a step: this is the answer without the general search for NumPy.
    if isinstance(arrays[0], np.ndarray):
        return np
    return array_api_compat.array_namespace(*arrays)


def per_sample(values: Array, images: Array) -> Array:
    """Reshape `values` [N] so that they broadcast over `images` [N, ...]."""
    return namespace(values).reshape(values, (values.shape[0],) + (1,) * (images.ndim - 1))


def flatten(images: Array) -> Array:
    """`images` [N, ...] as [N, D]."""
    # The size is spelled out because -1 is ambiguous for an empty batch.
    return namespace(images).reshape(images, (images.shape[0], math.prod(images.shape[1:])))


def where_sample(condition: Array, chosen: Array, otherwise: Array) -> Array:
    """Take whole samples of `chosen` [N, ...] where `condition` [N] holds, else of `otherwise`."""
    return namespace(chosen).where(per_sample(condition, chosen), chosen, otherwise)


def full_like_samples(images: Array, value: float) -> Array:
    """`value` once per sample: float32[N] on the device of `images`."""
    xp = namespace(images)
    return xp.full((images.shape[0],), value, dtype=xp.float32, device=array_api_compat.device(images))


def indices(images: Array) -> Array:
    """0 ... N-1 as int64[N] on the device of `images`."""
    xp = namespace(images)
    return xp.arange(images.shape[0], dtype=xp.int64, device=array_api_compat.device(images))


def finite_or_zero(values: Array) -> Array:
    """`values` with 0 in place of infinities and NaN: a gradient that is not finite moves nothing."""
    xp = namespace(values)
    return xp.where(xp.isfinite(values), values, 0.0)
