"""Figures of the epoch under way, summed over its images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch

from training.processes import Processes

if TYPE_CHECKING:
    from training.objectives.objective import StepLoss

_TERM = "loss_"


class Totals:
    """Sums by name over this process's images, in float64, on the device, so that a step waits for nothing.

    The names: `images`, `loss`, `loss_<term>` for each of the objective's terms, and `train_clean` and
    `train_robust`, which count the images that were classified correctly, where the objective says so.
    """

    def __init__(self, sums: Mapping[str, float], device: torch.device, processes: Processes) -> None:
        """`sums`: what `read` gave before the run was interrupted; empty at the start of an epoch."""
        self._processes = processes
        # They are those of all processes together.
        self._sums = {
            name: torch.tensor(value if processes.rank == 0 else 0.0, dtype=torch.float64, device=device)
            for name, value in sums.items()
        }

    def add(self, outcome: StepLoss, count: int) -> None:
        """Add a step over `count` images of this process."""
        # Shares of the batch's mean, times the batch's size: processes add up to the sum over the batch.
        batch = count * self._processes.count
        step = {"images": torch.full_like(outcome.loss, count), "loss": outcome.loss * batch}
        step |= {_TERM + name: term * batch for name, term in outcome.terms.items()}
        step |= {"train_" + name: number for name, number in outcome.correct.items()}
        for name, value in step.items():
            value = value.detach().double()
            self._sums[name] = self._sums[name] + value if name in self._sums else value

    def read(self) -> dict[str, float]:
        """The sums of all processes; waits for the device."""
        values = self._processes.add(torch.stack(list(self._sums.values()))).tolist()
        return dict(zip(self._sums, values, strict=True))


def means(sums: Mapping[str, float]) -> dict[str, float]:
    """Per image: `loss`, `loss_<term>`, and the accuracies `train_clean` and `train_robust` in [0, 1]."""
    return {name: value / sums["images"] for name, value in sums.items() if name != "images"}


def loss_text(figures: Mapping[str, float]) -> str:
    """The loss and, in brackets, its terms, for people: 'loss 2.1 (cross_entropy 1.8, contrast 0.6)'."""
    terms = [
        f"{name.removeprefix(_TERM)} {value:.3f}" for name, value in figures.items() if name.startswith(_TERM)
    ]
    return f"loss {figures['loss']:.3f}" + (f" ({', '.join(terms)})" if terms else "")
