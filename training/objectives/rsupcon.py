"""RSupCon: robust supervised contrast without any cross-entropy; a linear head is trained afterwards."""

from __future__ import annotations

import torch
from torch import Tensor

from training.augment import crop_flip, simclr, trivial_wide
from training.classifier import attack_mode
from training.contrastive import contrast, similarity
from training.objectives.objective import Batch, Context, StepLoss, TrainingObjective, Views
from training.objectives.projection import Projection
from training.objectives.settings import RSupConSettings
from training.perturbation import Climb


class RSupCon(TrainingObjective):
    """L = S(adv(t, s); adv(t, s) and b) + S(b; adv(t, s)), with S supervised contrast of separate sets.

    Kim and Choi, Neurocomputing 659, 131842, and its public code: t is TrivialAugment, s SimCLR's
    augmentation, b the cropped and mirrored image. Adversarial t and s climb the contrast against the fixed
    clean features of t, s and b. Pairs of clean images never meet: that is the separate contrast set.
    """

    def __init__(self, settings: RSupConSettings, context: Context) -> None:
        super().__init__(context)
        self._settings = settings
        self.projection = Projection(context.network.num_features, settings.projection, hidden=True)
        self.modules["projection"] = self.projection

    def views(self, batch: Batch) -> Views:
        strong = torch.cat([batch.augmented(trivial_wide), batch.augmented(simclr)])
        base = batch.augmented(crop_flip)
        context, processes, count = self.context, self.context.processes, len(base)
        with torch.no_grad(), attack_mode(context.network):
            clean = self.projection(context.features(torch.cat([strong, base])))
        # Gathered view by view: of t, s and b the whole batch.
        fixed = torch.cat([processes.gather(view) for view in clean.split(count)])
        labels = processes.gather(batch.labels)
        first = processes.rank * count
        own = torch.arange(first, first + count, device=base.device)
        own = torch.cat([own, own + len(labels)])

        def value(points: Tensor, rows: Tensor) -> Tensor:
            anchors = self.projection(context.features(points))
            return self.supervised(
                anchors, fixed, batch.labels.repeat(2)[rows], labels.repeat(3), own=own[rows]
            )

        adversarial = self.context.perturbation.climb(
            Climb(value),
            strong,
            # Both views of an image draw noise of their own; identities are below 2^31 each.
            samples=torch.cat([batch.samples, batch.samples + (1 << 31)]),
            seed=batch.attack_seed,
        )
        return {"adversarial": adversarial, "base": base}

    def loss(self, views: Views, batch: Batch) -> StepLoss:
        context, processes = self.context, self.context.processes
        projected = self.projection(context.features(torch.cat([views["adversarial"], views["base"]])))
        count = len(batch.labels)
        # Gathered view by view, so that rows of the same image keep their distance.
        t, s, base = (processes.gather(part) for part in projected.split(count))
        labels = processes.gather(batch.labels)
        strong = torch.cat([t, s])
        rows = torch.arange(len(strong), device=strong.device)
        of_adversarial = self.supervised(
            strong, torch.cat([strong, base]), labels.repeat(2), labels.repeat(3), own=rows
        )
        of_base = self.supervised(base, strong, labels, labels.repeat(2), own=None)
        own = processes.part(len(labels))
        first, second = of_adversarial.chunk(2)
        adversarial_term = context.share(torch.cat([first[own], second[own]]))
        base_term = context.share(of_base[own])
        return StepLoss(
            loss=adversarial_term + base_term,
            terms={"adversarial": adversarial_term.detach(), "base": base_term.detach()},
        )

    def supervised(
        self, anchors: Tensor, others: Tensor, labels: Tensor, other_labels: Tensor, *, own: Tensor | None
    ) -> Tensor:
        """S(A, C), float32[A]: positives are all others of the anchor's class.

        `own` int64[A] names the row of `others` that is the anchor itself, which takes no part; without it
        all do.
        """
        positives = labels[:, None] == other_labels[None]
        negatives = ~positives
        if own is not None:
            positives[torch.arange(len(anchors), device=own.device), own] = False
        similar = similarity(anchors, others, temperature=self._settings.temperature)
        return contrast(similar, positives, negatives)
