"""Learning-rate schedules."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from training.recipe import Optimiser


def learning_rate(step: int, steps: int, settings: Optimiser) -> float:
    """At `step` (from 0) of `steps`: up from zero over the share `warmup`, then as `schedule` says.

    one_cycle falls linearly and cosine along half a wave, both to zero; step is multiplied by `decay` at each
    of the `milestones`.
    """
    peak, turning = settings.learning_rate, settings.warmup * steps
    done = step + 1
    if done <= turning:
        return peak * done / turning
    left = (steps - step) / max(1.0, steps - turning)
    if settings.schedule == "one_cycle":
        return peak * left
    if settings.schedule == "cosine":
        return peak * 0.5 * (1.0 - math.cos(math.pi * left))
    passed = sum(step >= milestone * steps for milestone in settings.milestones)
    rate: float = peak * settings.decay**passed
    return rate
