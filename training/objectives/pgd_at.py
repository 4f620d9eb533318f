"""Adversarial training. With the attacks fgsm_rs and noise_fgsm it is FGSM-RS and N-FGSM training."""

from __future__ import annotations

from torch.nn import functional

from training.augment import crop_flip
from training.objectives.objective import Batch, Context, StepLoss, TrainingObjective, Views, count_correct
from training.objectives.settings import PgdAtSettings


class PgdAt(TrainingObjective):
    """L = CE(f(x'), y), where x' climbs the cross-entropy (Madry et al., arXiv 1706.06083, equation 2.1)."""

    def __init__(self, settings: PgdAtSettings, context: Context) -> None:
        super().__init__(context)
        self._settings = settings

    def views(self, batch: Batch) -> Views:
        clean = batch.augmented(crop_flip)
        perturbation = self.context.perturbation
        return {
            "adversarial": perturbation.lose(
                clean, batch.labels, samples=batch.samples, seed=batch.attack_seed
            )
        }

    def loss(self, views: Views, batch: Batch) -> StepLoss:
        logits = self.context.logits(views["adversarial"])
        cross_entropy = functional.cross_entropy(
            logits, batch.labels, label_smoothing=self._settings.label_smoothing, reduction="none"
        )
        return StepLoss(
            loss=self.context.share(cross_entropy), correct={"robust": count_correct(logits, batch.labels)}
        )
