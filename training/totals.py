"""Figures of the epoch under way, summed over its images."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from training.objectives.batch import StepLoss

_TERM = "loss_"


class Totals:
    """Sums by name, in float64 and on the device, so that a step waits for nothing.

    The names: `images`, `loss`, `loss_<term>` for each of the objective's terms, and `train_clean` and
    `train_robust`, which count the images that were classified correctly.
    """

    def __init__(self, sums: Mapping[str, float], device: torch.device) -> None:
        """`sums`: what `read` gave before the run was interrupted; empty at the start of an epoch."""
        self._sums = {
            name: torch.tensor(value, dtype=torch.float64, device=device) for name, value in sums.items()
        }

    def add(self, outcome: StepLoss, count: int) -> None:
        """Add a step over `count` images."""
        means = {"loss": outcome.loss, **{_TERM + name: term for name, term in outcome.terms.items()}}
        counts = {
            "train_clean": outcome.clean_correct,
            "train_robust": outcome.robust_correct,
            "images": torch.full_like(outcome.clean_correct, count),
        }
        step = {name: value.detach().double() * count for name, value in means.items()}
        step |= {name: value.double() for name, value in counts.items()}
        for name, value in step.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value

    def read(self) -> dict[str, float]:
        """The sums; waits for the device."""
        values = torch.stack(list(self._sums.values())).tolist()
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
