"""Counter-based random numbers, equal on NumPy and torch, on every device and in every batch.

Philox4x32-10 (Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy as 1, 2, 3; SC 2011). The counter
is (block, sample, restart, purpose) and the key is the seed, so a sample's noise depends on nothing else:
neither the batch it stands in, nor which samples were already dropped, changes it. Words live in int64 lanes,
because torch has no complete unsigned arithmetic; products wrap modulo 2**64, which keeps their bits.
"""

from __future__ import annotations

import math
from typing import Any

import array_api_compat

from probes.arrays import Array, namespace

_MASK = 0xFFFFFFFF
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10

START = 0
"""Purpose of a stream: the random start of an attack."""


def philox(
    counter: tuple[Array, Array, Array, Array], key: tuple[int, int]
) -> tuple[Array, Array, Array, Array]:
    """Encrypt four 32-bit counter words (int64 arrays that broadcast) under a key of two 32-bit words."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(_ROUNDS):
        product0, product1 = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c1, c2, c3 = (
            ((product1 >> 32) & _MASK) ^ c1 ^ k0,
            product1 & _MASK,
            ((product0 >> 32) & _MASK) ^ c3 ^ k1,
            product0 & _MASK,
        )
        k0, k1 = (k0 + _WEYL[0]) & _MASK, (k1 + _WEYL[1]) & _MASK
    return c0, c1, c2, c3


def uniform(like: Array, *, seed: int, samples: Array, restart: int, purpose: int = START) -> Array:
    """Uniform numbers in [0, 1) with the shape and device of `like` [N, ...], float32.

    `samples` int64[N] are the samples' lasting identities (not their place in this batch).
    """
    xp = namespace(like)
    words = _words(like, seed=seed, samples=samples, restart=restart, purpose=purpose)
    numbers = xp.astype(words >> 8, xp.float32) * 2.0**-24
    return xp.reshape(numbers, like.shape)


def normal(like: Array, *, seed: int, samples: Array, restart: int, purpose: int = START) -> Array:
    """Standard normal numbers with the shape and device of `like` [N, ...] (Box and Muller 1958), float32."""
    xp = namespace(like)
    first = _words(like, seed=seed, samples=samples, restart=restart, purpose=2 * purpose + 16)
    second = _words(like, seed=seed, samples=samples, restart=restart, purpose=2 * purpose + 17)
    radius = xp.sqrt(-2.0 * xp.log((xp.astype(first >> 8, xp.float32) + 1.0) * 2.0**-24))
    angle = xp.astype(second >> 8, xp.float32) * (2.0 * math.pi * 2.0**-24)
    return xp.reshape(radius * xp.cos(angle), like.shape)


def _words(like: Array, *, seed: int, samples: Array, restart: int, purpose: int) -> Array:
    """32-bit words as int64[N, D], D the number of values of one sample."""
    xp: Any = namespace(like)
    count = math.prod(like.shape[1:])
    device = array_api_compat.device(like)
    blocks = xp.arange((count + 3) // 4, dtype=xp.int64, device=device)[None, :]
    zeros = xp.zeros((like.shape[0], 1), dtype=xp.int64, device=device)
    sample = xp.reshape(xp.astype(samples, xp.int64), (-1, 1))
    low, high = sample & _MASK, (sample >> 32) & 0xFFFF
    counter = (blocks + zeros, low, zeros + restart, (high << 16) | (zeros + purpose))
    mixed = philox(counter, (seed & _MASK, (seed >> 32) & _MASK))
    return xp.reshape(xp.stack(mixed, axis=-1), (like.shape[0], 4 * blocks.shape[1]))[:, :count]
