"""Where the restarts of a gradient attack begin."""

from __future__ import annotations

from probes.arrays import Array, namespace
from probes.threat import Threat, admissible


def starting_points(
    clean: Array,
    *,
    threat: Threat,
    eps: Array,
    restart: int,
    seed: int,
    samples: Array,
    random_start: bool,
    start: Array | None,
) -> Array:
    """Where `restart` begins: `start` for the first one if given, else a draw from the ball or the image.

    Args:
        clean: float32[M, C, H, W] in [0, 1].
        eps: float32[M], radius of each sample's ball.
        samples: int64[M], lasting identities that key the draw.
        start: float32[M, C, H, W] or None; projected into the ball.

    Returns:
        float32[M, C, H, W], inside the ball and [0, 1].
    """
    if restart == 0 and start is not None:
        return admissible(start, clean, threat, eps)
    if not random_start:
        return clean
    noise = threat.random_start(clean, eps, seed=seed, samples=samples, restart=restart)
    return namespace(clean).clip(clean + noise, 0.0, 1.0)
