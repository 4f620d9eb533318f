"""C-LEAD online: the three-view loss with perturbations against the current parameters."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from training.augment import crop_flip, simclr
from training.classifier import attack_mode
from training.contrastive import info_nce
from training.objectives.objective import Batch, Context, Views
from training.objectives.settings import CleadSettings
from training.objectives.three_view import ThreeView
from training.perturbation import Climb


class Clead(ThreeView):
    """u is the cropped and mirrored image, v1 = u perturbed against the current parameters, v2 SimCLR's
    augmentation of the image.

    The paper's public code makes v1 once, against another network, and has no cross-entropy in this stage
    (`clead_static`); attacks on the trained network itself break that, so here v1 follows the parameters.
    """

    def __init__(self, settings: CleadSettings, context: Context) -> None:
        super().__init__(settings, context)
        self._climb = settings.climb

    def views(self, batch: Batch) -> Views:
        clean = batch.augmented(crop_flip)
        return {
            "clean": clean,
            "adversarial": self._perturbed(clean, batch),
            "augmented": batch.augmented(simclr),
        }

    def _perturbed(self, clean: Tensor, batch: Batch) -> Tensor:
        context, settings = self.context, self._settings
        samples, seed = batch.samples, batch.attack_seed
        if self._climb == "cross_entropy":
            return context.perturbation.lose(clean, batch.labels, samples=samples, seed=seed)
        with torch.no_grad(), attack_mode(context.network):
            anchors = context.processes.gather(self.projection(context.features(clean)))
        labels, own = self._labels(batch), context.processes.part(len(anchors))

        def value(points: Tensor, _: Tensor) -> Tensor:
            features = context.features(points)
            views = context.processes.gather(self.projection(features))
            contrast = info_nce(anchors, views, settings.temperature, labels=labels)[own]
            if self._climb == "contrast":
                return contrast
            cross_entropy = functional.cross_entropy(
                context.classify(features), batch.labels, reduction="none"
            )
            return cross_entropy + settings.weight * contrast

        return context.perturbation.climb(Climb(value), clean, samples=samples, seed=seed)
