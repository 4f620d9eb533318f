"""C-LEAD as its public code does it: adversarial images made once, against another network."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from training.adversarial_set import AdversarialSet, adversarial_set
from training.augment import crop_flip, simclr
from training.contrastive import three_view
from training.data.images import LabelledImages
from training.objectives.objective import Batch, Context, StepLoss, TrainingObjective, Views
from training.objectives.projection import Projection
from training.objectives.settings import CleadStaticSettings
from training.progress import Track


class CleadStatic(TrainingObjective):
    """L = ( l(u, v1) + l(u, v2) ) / 2 with u the image, v1 its stored adversarial version, v2 SimCLR's.

    What the code published with C-LEAD (arXiv 2510.27249) does. Labels play no part, and neither do the
    current parameters: a white-box attack on the result meets no defence. It is here to show just that.

    What differs from that code:

    * which augmentation u and v1 get there is not published, nor its temperature, nor which image meets which
      attack: u and v1 are cropped and mirrored here, each on its own, and each image meets one attack;
    * its projection reads 1000 outputs of another linear layer, here the features that this layer reads;
    * the clean training before it is 70 epochs of SGD at 0.01, lowered on plateaus; here that of the run in
      `start` (in the shipped recipe 60 epochs, one cycle up to 0.1, Nesterov's momentum);
    * its surrogate is a ResNet-34, here the run that the recipe names (a ResNet-18 in the shipped recipe);
    * images are held out of training here, and choose the head's epoch;
    * its momentum is the plain one: `optimiser.nesterov = false` in the shipped recipe, the default is true;
    * its cosine schedule is that of its code base, which ends at a thousandth of the rate, here at zero;
    * its "targetted" variant of the head, with FGSM of the surrogate in half of the batches, is left out.
    """

    def __init__(self, settings: CleadStaticSettings, context: Context) -> None:
        super().__init__(context)
        self._settings = settings
        self.adversarial: AdversarialSet | None = None
        """Made by `prepare`."""
        self.projection = Projection(context.network.num_features, settings.projection)
        self.modules["projection"] = self.projection

    def prepare(
        self,
        images: LabelledImages,
        chosen: Tensor,
        folder: Path,
        device: torch.device,
        track: Track,
        *,
        made: str = "",
    ) -> str:
        self.adversarial = adversarial_set(
            Path(self._settings.surrogate),
            images,
            chosen,
            attacks=self._settings.attacks,
            file=folder / "adversarial.safetensors",
            device=device,
            processes=self.context.processes,
            track=track,
            made=made,
        )
        return self.adversarial.key

    def views(self, batch: Batch) -> Views:
        if self.adversarial is None:
            raise RuntimeError("prepare() makes the adversarial images before the first step")
        stored = self.adversarial.images(batch.batch_samples, batch.images.device)
        return {
            "clean": batch.augmented(crop_flip),
            "adversarial": crop_flip(stored, batch.generator)[batch.part],
            "augmented": batch.augmented(simclr),
        }

    def loss(self, views: Views, batch: Batch) -> StepLoss:
        context, count = self.context, len(batch.labels)
        features = context.features(torch.cat([views["clean"], views["adversarial"], views["augmented"]]))
        u, v1, v2 = (context.processes.gather(view) for view in self.projection(features).split(count))
        anchors = three_view(u, v1, v2, self._settings.temperature)
        return StepLoss(loss=context.share(anchors[context.processes.part(len(anchors))]))
