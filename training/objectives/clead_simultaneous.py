"""C-LEAD with parameters and perturbations updated together, from the same backward pass."""

from __future__ import annotations

import torch

from training.augment import crop_flip, simclr
from training.objectives.objective import Batch, Context, Views
from training.objectives.settings import CleadSimultaneousSettings
from training.objectives.three_view import ThreeView


class CleadSimultaneous(ThreeView):
    """The three-view loss, whose one backward pass moves the parameters down and the perturbations up.

    The paper's abstract (arXiv 2510.27249) optimises both together; Free-AT (Shafahi et al., arXiv
    1904.12843) shows how: each batch is used `replays` times in a row, and the perturbation persists from one
    update to the next, across batches too. Its step is `attack.step_size`; of `attack`, only eps and norm
    matter beside.
    """

    def __init__(self, settings: CleadSimultaneousSettings, context: Context) -> None:
        super().__init__(settings, context)
        self.replays = settings.replays
        # A buffer of a saved module, so that a resumed run goes on with it.
        self.modules.register_buffer("delta", torch.zeros(context.batch_shape))

    def views(self, batch: Batch) -> Views:
        clean = batch.augmented(crop_flip)
        delta = self.modules.get_buffer("delta")[batch.part]
        adversarial = (clean + delta).clamp(0.0, 1.0).requires_grad_(True)
        return {"clean": clean, "adversarial": adversarial, "augmented": batch.augmented(simclr)}

    def after_backward(self, views: Views, batch: Batch) -> None:
        adversarial = views["adversarial"]
        if adversarial.grad is None:
            raise RuntimeError("the loss was not propagated to the adversarial view")
        # From where the point really is: the box may have cut the perturbation.
        moved = self.context.perturbation.move(adversarial.detach() - views["clean"], adversarial.grad)
        self.modules.get_buffer("delta").copy_(self.context.processes.gather(moved))
