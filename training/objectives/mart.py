"""MART: adversarial training that weighs misclassified images more."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from training.augment import crop_flip
from training.objectives.objective import Batch, Context, StepLoss, TrainingObjective, Views, count_correct
from training.objectives.settings import MartSettings
from training.objectives.trades import kl_divergence

_TINY = 1e-6
"""Keeps log(1 - p) finite when p rounds to 1."""


class Mart(TrainingObjective):
    """L = BCE(f(x'), y) + weight (1 - p_y(x)) KL(p(x) || p(x')), where x' climbs the cross-entropy.

    Wang et al., Improving Adversarial Robustness Requires Revisiting Misclassified Examples, ICLR 2020.
    """

    def __init__(self, settings: MartSettings, context: Context) -> None:
        super().__init__(context)
        self._settings = settings

    def views(self, batch: Batch) -> Views:
        clean = batch.augmented(crop_flip)
        adversarial = self.context.perturbation.lose(
            clean, batch.labels, samples=batch.samples, seed=batch.attack_seed
        )
        return {"clean": clean, "adversarial": adversarial}

    def loss(self, views: Views, batch: Batch) -> StepLoss:
        context, labels = self.context, batch.labels
        clean, adversarial = context.logits(views["clean"]), context.logits(views["adversarial"])
        boosted = context.share(boosted_cross_entropy(adversarial, labels))
        doubt = 1.0 - functional.softmax(clean, dim=1).gather(1, labels[:, None])[:, 0]
        divergence = context.share(doubt * kl_divergence(clean, adversarial))
        return StepLoss(
            loss=boosted + self._settings.weight * divergence,
            terms={"boosted_cross_entropy": boosted.detach(), "divergence": divergence.detach()},
            correct={"clean": count_correct(clean, labels), "robust": count_correct(adversarial, labels)},
        )


def boosted_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """BCE = - log p_y - log (1 - max_{k != y} p_k), float32[N]."""
    others = functional.softmax(logits, dim=1).scatter(1, labels[:, None], 0.0).amax(dim=1)
    return functional.cross_entropy(logits, labels, reduction="none") - (1.0 - others + _TINY).log()
