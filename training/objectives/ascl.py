"""ASCL: supervised contrast as a regulariser of adversarial training, with positives and negatives that the
predictions select.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from training.augment import crop_flip
from training.contrastive import contrast, similarity
from training.objectives.objective import Batch, Context, StepLoss, TrainingObjective, Views, count_correct
from training.objectives.projection import Projection
from training.objectives.settings import AsclSettings, Selection
from training.objectives.trades import kl_divergence


class Ascl(TrainingObjective):
    """L = clean_weight CE(x) + CE(x') + contrast_weight SCL + divergence_weight KL(p(x) || p(x')).

    Bui et al., arXiv 2101.10027: SCL is the supervised contrast (`training.contrastive.contrast`) over the
    projections of all clean and adversarial images of the batch, with positives and negatives chosen by
    `select`; x' climbs the cross-entropy.
    """

    def __init__(self, settings: AsclSettings, context: Context) -> None:
        super().__init__(context)
        self._settings = settings
        self.projection = Projection(context.network.num_features, settings.projection)
        self.modules["projection"] = self.projection

    def views(self, batch: Batch) -> Views:
        clean = torch.cat([batch.augmented(crop_flip) for _ in range(self._settings.crops)])
        adversarial = self.context.perturbation.lose(
            clean,
            batch.labels.repeat(self._settings.crops),
            # Every crop draws noise of its own; identities are below 2^31 each.
            samples=torch.cat([batch.samples + (crop << 31) for crop in range(self._settings.crops)]),
            seed=batch.attack_seed,
        )
        return {"clean": clean, "adversarial": adversarial}

    def loss(self, views: Views, batch: Batch) -> StepLoss:
        context, settings = self.context, self._settings
        labels = batch.labels.repeat(settings.crops)
        features = context.features(torch.cat([views["clean"], views["adversarial"]]))
        logits = context.classify(features)
        clean, adversarial = logits.chunk(2)
        clean_loss = context.share(functional.cross_entropy(clean, labels, reduction="none"))
        adversarial_loss = context.share(functional.cross_entropy(adversarial, labels, reduction="none"))
        divergence = context.share(kl_divergence(clean, adversarial))
        anchors, shares = self._contrast(features, logits.detach().argmax(1), labels.repeat(2))
        return StepLoss(
            loss=settings.clean_weight * clean_loss
            + adversarial_loss
            + settings.contrast_weight * anchors
            + settings.divergence_weight * divergence,
            terms={
                "clean": clean_loss.detach(),
                "adversarial": adversarial_loss.detach(),
                "contrast": anchors.detach(),
                "divergence": divergence.detach(),
                **shares,
            },
            correct={
                "clean": count_correct(clean, labels) / settings.crops,
                "robust": count_correct(adversarial, labels) / settings.crops,
            },
        )

    def _contrast(
        self, features: Tensor, predictions: Tensor, labels: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """This process's share of SCL, and of the shares of positives and negatives that were kept."""
        processes = self.context.processes
        projected = processes.gather(self.projection(features))
        labels, predictions = processes.gather(labels), processes.gather(predictions)
        positives, negatives = select(labels, predictions, self._settings.selection)
        similar = similarity(
            projected, projected, temperature=self._settings.temperature, distance=self._settings.distance
        )
        losses = contrast(similar, positives, negatives)
        all_positives, all_negatives = select(labels, predictions, "global")
        shares = {
            "positives_kept": positives.sum() / all_positives.sum().clamp(min=1) / processes.count,
            "negatives_kept": negatives.sum() / all_negatives.sum().clamp(min=1) / processes.count,
        }
        return self.context.share(losses[processes.part(len(losses))]), shares


def select(labels: Tensor, predictions: Tensor, selection: Selection) -> tuple[Tensor, Tensor]:
    """Positives and negatives bool[N, N] of each anchor (row), with y its label and z its prediction.

    global: same label; other label. hard_local: negatives that are predicted as y. soft_local: negatives
    that are predicted as z. leaked_local: positives and negatives that are. Never the anchor itself.

    Args:
        labels, predictions: int64[N].
    """
    alike = labels[:, None] == labels[None]
    taken_for_label = predictions[None] == labels[:, None]
    taken_alike = predictions[None] == predictions[:, None]
    others = ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    positives = alike & others & (taken_alike if selection == "leaked_local" else torch.ones_like(alike))
    near = {
        "global": torch.ones_like(alike),
        "hard_local": taken_for_label,
        "soft_local": taken_alike,
        "leaked_local": taken_alike,
    }[selection]
    return positives, ~alike & near
