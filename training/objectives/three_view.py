"""What the online forms of C-LEAD share: their loss."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from training.contrastive import three_view
from training.objectives.objective import Batch, Context, StepLoss, TrainingObjective, Views, count_correct
from training.objectives.projection import Projection
from training.objectives.settings import ThreeViewSettings


class ThreeView(TrainingObjective):
    """L = CE(f(v1), y) + weight * ( l(u, v1) + l(u, v2) ) / 2 (after C-LEAD, arXiv 2510.27249).

    u is the clean view, v1 the adversarial and v2 the augmented one; l is InfoNCE (`training.contrastive`)
    over the L2-normalised linear projection of the features.
    """

    def __init__(self, settings: ThreeViewSettings, context: Context) -> None:
        super().__init__(context)
        self._settings = settings
        self.projection = Projection(context.network.num_features, settings.projection)
        self.modules["projection"] = self.projection

    def loss(self, views: Views, batch: Batch) -> StepLoss:
        context, settings, count = self.context, self._settings, len(batch.labels)
        features = context.features(torch.cat([views["clean"], views["adversarial"], views["augmented"]]))
        clean, adversarial = context.classify(features[: 2 * count]).split(count)
        cross_entropy = context.share(
            functional.cross_entropy(
                adversarial, batch.labels, label_smoothing=settings.label_smoothing, reduction="none"
            )
        )
        u, v1, v2 = (context.processes.gather(view) for view in self.projection(features).split(count))
        anchors = three_view(u, v1, v2, settings.temperature, labels=self._labels(batch))
        contrast = context.share(anchors[context.processes.part(len(anchors))])
        return StepLoss(
            loss=cross_entropy + settings.weight * contrast,
            terms={"cross_entropy": cross_entropy.detach(), "contrast": contrast.detach()},
            correct={
                "clean": count_correct(clean, batch.labels),
                "robust": count_correct(adversarial, batch.labels),
            },
        )

    def _labels(self, batch: Batch) -> Tensor | None:
        """Of the whole batch, where they decide what attracts."""
        return self.context.processes.gather(batch.labels) if self._settings.positives == "label" else None
