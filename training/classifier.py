"""A torch module as a classifier with input gradients, for the attacks in `probes`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from probes.classifier import Gradient
from probes.losses import loss_and_cotangent
from training.folding import batch_norm_folded
from training.networks.network import Network


class TorchClassifier:
    """`module` (images in [0, 1] to logits) under `probes.classifier.Classifier`.

    With `autocast` the passes run in bfloat16, whose exponent is that of float32: input gradients lose digits
    but do not underflow to zero, as they would in float16. Losses and cotangents are float32 always.
    Evaluation leaves it off.
    """

    def __init__(self, module: nn.Module, *, autocast: bool = False) -> None:
        self.module = module
        self._autocast = autocast

    def logits(self, images: Tensor) -> Tensor:
        with torch.no_grad(), self._precision(images):
            logits: Tensor = self.module(images)
        return logits.float()

    def gradient(self, images: Tensor, labels: Tensor, targets: Tensor, losses: Tensor) -> Gradient:
        points = images.detach().requires_grad_(True)
        with torch.enable_grad():
            with self._precision(images):
                logits = self.module(points)
            logits = logits.float()
            value, cotangent = loss_and_cotangent(logits.detach(), labels, targets, losses)
            (gradient,) = torch.autograd.grad(logits, points, cotangent)
        return Gradient(logits.detach(), value, gradient.detach())

    def _precision(self, images: Tensor) -> torch.autocast:
        return torch.autocast(images.device.type, dtype=torch.bfloat16, enabled=self._autocast)


@contextmanager
def attack_mode(module: nn.Module) -> Iterator[None]:
    """Eval mode while an attack runs: batch norm neither follows nor moves the batch statistics.

    Convolutions do its part then, where they can (`training.folding`): the weights must not change within.
    """
    was_training = module.training
    module.eval()
    try:
        with batch_norm_folded(module, module.foldable if isinstance(module, Network) else {}):
            yield
    finally:
        module.train(was_training)
