"""Learning-rate schedules."""

from __future__ import annotations


def one_cycle(step: int, steps: int, *, peak: float, warmup: float) -> float:
    """Learning rate at `step` of `steps`: up to `peak` over the share `warmup`, then down to 0."""
    turning = max(1.0, warmup * steps)
    done = step + 1
    return peak * done / turning if done <= turning else peak * (steps - step) / max(1.0, steps - turning)
