"""Where the restarts of a gradient attack begin."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from probes.arrays import Array, indices, namespace
from probes.attacks.result import AttackResult
from probes.threat import Threat, admissible


class Start(NamedTuple):
    """Where one restart begins."""

    restart: int
    rows: Array
    """int64[M]: the samples of the attack's batch that it is about."""
    clean: Array
    """float32[M, C, H, W] in [0, 1]."""
    points: Array
    """float32[M, C, H, W], inside the ball and [0, 1]."""


def starts(
    images: Array,
    best: AttackResult,
    *,
    threat: Threat,
    eps: Array,
    restarts: int,
    seed: int,
    samples: Array | None,
    random_start: bool,
    start: Array | None,
    early_stop: bool,
) -> Iterator[Start]:
    """Each restart as its turn comes: from `start` for the first one if given, else from a draw from the ball
    or from the image.

    Args:
        best: the worst points so far; with `early_stop` what is adversarial there is left out, and nothing
            comes after all are.
        samples: int64[N], lasting identities that key the draws; 0 ... N-1 without them.
        start: float32[N, C, H, W] or None; projected into the ball.
    """
    everyone = indices(images)
    samples = everyone if samples is None else samples
    for restart in range(restarts):
        rows = everyone[~best.adversarial] if early_stop else everyone
        if rows.shape[0] == 0:
            return
        clean = points = images[rows]
        if restart == 0 and start is not None:
            points = admissible(start, clean, threat, eps)
        elif random_start:
            noise = threat.random_start(clean, eps[rows], seed=seed, samples=samples[rows], restart=restart)
            points = namespace(clean).clip(clean + noise, 0.0, 1.0)
        yield Start(restart, rows, clean, points)
