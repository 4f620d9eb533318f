"""TRADES: clean accuracy and smoothness around each image, with a weight between them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from training.augment import crop_flip
from training.classifier import attack_mode
from training.objectives.objective import Batch, Context, StepLoss, TrainingObjective, Views, count_correct
from training.objectives.settings import TradesSettings
from training.perturbation import Climb


class Trades(TrainingObjective):
    """L = CE(f(x), y) + beta KL(p(x) || p(x')), where x' climbs that KL (arXiv 1901.08573)."""

    def __init__(self, settings: TradesSettings, context: Context) -> None:
        super().__init__(context)
        self._settings = settings

    def views(self, batch: Batch) -> Views:
        clean = batch.augmented(crop_flip)
        return {"clean": clean, "adversarial": climb_divergence(self.context, clean, batch)}

    def loss(self, views: Views, batch: Batch) -> StepLoss:
        context = self.context
        clean, adversarial = context.logits(views["clean"]), context.logits(views["adversarial"])
        cross_entropy = context.share(
            functional.cross_entropy(
                clean, batch.labels, label_smoothing=self._settings.label_smoothing, reduction="none"
            )
        )
        divergence = context.share(kl_divergence(clean, adversarial))
        return StepLoss(
            loss=cross_entropy + self._settings.beta * divergence,
            terms={"cross_entropy": cross_entropy.detach(), "divergence": divergence.detach()},
            correct={
                "clean": count_correct(clean, batch.labels),
                "robust": count_correct(adversarial, batch.labels),
            },
        )


def kl_divergence(logits: Tensor, others: Tensor) -> Tensor:
    """KL(p || q) of the classes' probabilities, float32[N], from logits [N, K] of p and q."""
    log_p = functional.log_softmax(logits, dim=1)
    return (log_p.exp() * (log_p - functional.log_softmax(others, dim=1))).sum(dim=1)


def climb_divergence(context: Context, clean: Tensor, batch: Batch) -> Tensor:
    """Images x' that climb KL(p(x) || p(x')) from `clean` x, with p(x) held fixed."""
    with torch.no_grad(), attack_mode(context.network):
        reference = context.logits(clean)
    divergence = Climb(lambda points, rows: kl_divergence(reference[rows], context.logits(points)))
    return context.perturbation.climb(divergence, clean, samples=batch.samples, seed=batch.attack_seed)
