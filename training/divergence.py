"""What to do when a run's loss or weights are no longer finite."""

from __future__ import annotations

import shlex
from pathlib import Path

from training.phases import TrainingError
from training.run_folder import BEST, LAST


def diverged(what: str, out: Path, *, setting: str, value: float, best: bool, started: bool) -> TrainingError:
    """The error to raise.

    Args:
        what: is no longer finite, and where.
        out: the run's folder.
        setting: the field of the recipe to lower.
        value: what it is.
        best: one of its epochs has been the best so far.
        started: it began with the weights of another run.
    """
    lower = f"the {what}; lower {setting} ({value})"
    if not (out / LAST).exists():
        other = ", or begin without start," if started else ""
        return TrainingError(f"{lower}{other} and train again. No checkpoint was written yet")
    # Resuming would do the same again, and goes on with the same recipe only.
    advice = f"{lower} and train into another --out: --resume wants this recipe, and would end here again"
    if best and (out / BEST).exists():
        start = shlex.quote(f"start={out}")
        advice += f". With --set {start} it begins from the best epoch here, if that one was still sound"
    return TrainingError(advice)
