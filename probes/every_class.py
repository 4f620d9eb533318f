"""What it takes to make an image each of the other classes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from probes.approach import FAR_STEPS, REFINING_STEPS, hand_over, nearest
from probes.findings import Findings, batch_rows
from probes.ladder import Ladder
from probes.losses import Loss
from probes.report import ClassDistance


def approach_each(ladder: Ladder, rivals: Sequence[int], *, steps: int, max_eps: float) -> None:
    """One search towards each of `rivals`, side by side, and a short one from where it ended.

    Whatever is found goes to the findings, and so counts for the ladder's own goal as well.

    Args:
        steps: of the attack; the first search takes `FAR_STEPS` times as many.
    """
    rows, far = batch_rows(ladder.findings.clean), steps * FAR_STEPS[ladder.threat.norm]
    for first in range(0, len(rivals), rows):
        towards = rivals[first : first + rows]
        found = nearest(ladder, towards, steps=far, max_eps=max_eps, loss=Loss.CROSS_ENTROPY, own_goal=True)
        closer = nearest(
            ladder,
            towards,
            steps=REFINING_STEPS,
            max_eps=max_eps,
            own_goal=True,
            start=found.images,
        )
        # Stopped before its first evaluation the second search knows nothing.
        hand_over(ladder, closer if np.any(closer.adversarial) else found)


def class_distances(findings: Findings, rivals: Sequence[int]) -> tuple[ClassDistance, ...]:
    """The distance of the nearest example of each class, as the served classifier confirmed it, nearest class
    first."""
    distances = dict.fromkeys(rivals, math.inf)
    for seen in findings.seen:
        if seen.reached and seen.prediction.index in distances:
            index = seen.prediction.index
            distances[index] = min(distances[index], seen.eps)
    return tuple(
        ClassDistance(index=index, flipped=eps if math.isfinite(eps) else None)
        for index, eps in sorted(distances.items(), key=lambda one: one[1])
    )
