"""Watches an attack for the marks of hidden gradients."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from probes.attacks.result import Step


@dataclass(slots=True)
class LossTrace:
    """Of an attack's first restart: zero gradients at the start, and how often a step raised the mean loss.

    An attack's `on_step`. Images that the attack has finished with no longer count.
    """

    zero_gradients: int = 0
    rises: int = 0
    steps: int = 0
    _values: torch.Tensor = field(default_factory=lambda: torch.empty(0))

    def __call__(self, step: Step) -> None:
        if step.restart > 0:
            return
        value, rows = step.evaluation.value, step.rows
        if step.step == 0:
            gradient = step.evaluation.gradient
            self.zero_gradients += int((gradient.abs().flatten(1).amax(1) == 0).sum())
            self._values = torch.full((int(rows.max()) + 1,), torch.nan, device=value.device)
        else:
            self.steps += 1
            self.rises += int(value.mean() > self._values[rows].mean())
        self._values[rows] = value
