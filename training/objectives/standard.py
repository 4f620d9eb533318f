"""Training without perturbations: the control that every attack must break."""

from __future__ import annotations

from torch.nn import functional

from training.augment import crop_flip, trivial_wide
from training.objectives.objective import Batch, Context, StepLoss, TrainingObjective, Views, count_correct
from training.objectives.settings import StandardSettings

_AUGMENTATIONS = {"crop_flip": crop_flip, "trivial_wide": trivial_wide}


class Standard(TrainingObjective):
    """L = CE(f(x), y)."""

    def __init__(self, settings: StandardSettings, context: Context) -> None:
        super().__init__(context)
        self._settings = settings

    def views(self, batch: Batch) -> Views:
        return {"clean": batch.augmented(_AUGMENTATIONS[self._settings.augmentation])}

    def loss(self, views: Views, batch: Batch) -> StepLoss:
        logits = self.context.logits(views["clean"])
        cross_entropy = functional.cross_entropy(
            logits, batch.labels, label_smoothing=self._settings.label_smoothing, reduction="none"
        )
        return StepLoss(
            loss=self.context.share(cross_entropy), correct={"clean": count_correct(logits, batch.labels)}
        )
