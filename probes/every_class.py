"""What it takes to make an image each of the other classes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from probes.approach import CLOSE, CLOSE_GAMMA, REFINING_STEPS, nearest
from probes.attacks.fmn import Nearest
from probes.findings import batch_rows
from probes.goal import Goal
from probes.ladder import ROUNDING, Ladder
from probes.losses import Loss
from probes.report import ClassDistance


def every_class(
    ladder: Ladder, rivals: Sequence[int], *, steps: int, max_eps: float
) -> tuple[ClassDistance, ...]:
    """One search towards each of `rivals`, side by side, and a short one from where it ended.

    The nearest class comes first.

    What is found counts for the ladder's own goal as well. A distance is an upper bound, like everything that
    an attack finds, and no check looks at a single class.
    """
    rows = batch_rows(ladder.findings.clean)
    distances: list[ClassDistance] = []
    for first in range(0, len(rivals), rows):
        towards = rivals[first : first + rows]
        found = nearest(ladder, towards, steps=steps, max_eps=max_eps, loss=Loss.CROSS_ENTROPY, own_goal=True)
        closer = nearest(
            ladder,
            towards,
            steps=REFINING_STEPS,
            max_eps=max_eps,
            own_goal=True,
            start=found.images,
            step_size=CLOSE,
            gamma=CLOSE_GAMMA,
        )
        distances += [_confirmed(ladder, closer, row, index) for row, index in enumerate(towards)]
    return tuple(sorted(distances, key=lambda one: math.inf if one.flipped is None else one.flipped))


def _confirmed(ladder: Ladder, found: Nearest, row: int, index: int) -> ClassDistance:
    findings = ladder.findings
    own = findings.aside(Goal(label=findings.goal.label, target=index))
    if found.adversarial[row]:
        # FMN measures in float32.
        radius = np.asarray([float(found.size[row]) * (1.0 + ROUNDING) + ROUNDING])
        own.judge(found.images[row : row + 1], radius)
        findings.judge(found.images[row : row + 1], radius, claimed=True)
    example = own.smallest()
    return ClassDistance(index=index, flipped=None if example is None else example.eps)
