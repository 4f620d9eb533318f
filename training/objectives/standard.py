"""Training without perturbations: the control that every attack must break."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch.nn import functional

from training.augment import crop_flip
from training.objectives.objective import Batch, Context, StepLoss, TrainingObjective, Views, correct
from training.section import Section


class StandardSettings(Section):
    """L = CE(f(x), y)."""

    name: Literal["standard"] = "standard"
    label_smoothing: float = Field(0.0, ge=0.0, lt=1.0)


class Standard(TrainingObjective):
    """L = CE(f(x), y)."""

    def __init__(self, settings: StandardSettings, context: Context) -> None:
        super().__init__(context)
        self._settings = settings

    def views(self, batch: Batch) -> Views:
        return {"clean": batch.augmented(crop_flip)}

    def loss(self, views: Views, batch: Batch) -> StepLoss:
        logits = self.context.logits(views["clean"])
        cross_entropy = functional.cross_entropy(
            logits, batch.labels, label_smoothing=self._settings.label_smoothing, reduction="none"
        )
        return StepLoss(loss=self.context.share(cross_entropy), clean_correct=correct(logits, batch.labels))
