"""What an evaluation leaves for the gates to judge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from training.evaluation.autoattack import Outcome, Part
from training.evaluation.conduct import Conduct
from training.evaluation.trace import LossTrace

GRADIENT_PARTS: tuple[Part, ...] = ("apgd-ce", "apgd-t", "fab-t")
"""Those of AutoAttack that follow gradients."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """bool[N] flags say which images stay right."""

    clean: Tensor
    standing: Mapping[str, Tensor]
    """By the name of each attack that was run on all images that are right when clean."""
    worst: Tensor
    """After everything that was run at this eps or below."""
    conduct: Conduct
    trace: LossTrace | None
    """Of PGD; None if it was not run."""
    longer: Tensor | None
    """After PGD, and then PGD with twice the steps and other random starts."""
    autoattack: Outcome | None
    warnings: tuple[str, ...] | None
    """The library's own flags, by whichever of its attacks were run; None if none were."""
    by_eps: tuple[tuple[float, float], ...]
    """(eps, accuracy under PGD-20) in rising order; the last three eps are beyond any claim."""
    control: tuple[float, float] | None
    """Accuracy, clean and under PGD, of a model that claims no robustness; None if none was given."""
    classes: int
    commonest: float
    """Share of the commonest class: what a model has that always answers with it."""

    @property
    def white_box(self) -> Tensor | None:
        """bool[N]: what every attack that follows this model's gradient left; None if none of several steps
        was run."""
        named = ("fgsm", "pgd-50-10", "apgd-ce", "apgd-t")
        flags = [self.standing[name] for name in named if name in self.standing]
        flags += [] if self.longer is None else [self.longer]
        if self.autoattack is not None:
            flags += [self.autoattack.stages[part].standing for part in GRADIENT_PARTS]
        left = self.clean
        for flag in flags:
            left = left & flag
        single_step_alone = set(self.standing) & set(named) == {"fgsm"} and self.autoattack is None
        return left if flags and not single_step_alone else None

    @property
    def targeted(self) -> bool:
        """Whether logits' differences were attacked, class by class, beside the cross-entropy."""
        return "apgd-t" in self.standing or self.autoattack is not None
