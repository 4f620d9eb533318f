"""Writing sample.safetensors: real images with torch's answers, against which engines are checked."""

from __future__ import annotations

import safetensors.torch
import torch
from torch import Tensor, nn

from probes.losses import UNTARGETED, Loss
from training.classifier import TorchClassifier

SMALL_IMAGE = 64 * 64
"""Images of up to this many pixels get two rows for each loss, larger ones one, to keep the file small."""


def sample_file(network: nn.Module, images: Tensor, labels: Tensor, *, classes: int) -> bytes:
    """The sample of `network`: rows go through the losses in turn, every second one is targeted.

    Args:
        network: images in [0, 1] to logits [N, K], in eval mode.
        images: float32[N, 3, H, W] in [0, 1], at least one; the first few are taken, and repeated if need be.
        labels: int64[N].

    Raises:
        ValueError: no image is given.
    """
    if not len(images):
        raise ValueError("a sample needs at least one image: give the exporter some real images")
    count = len(Loss) * (2 if images.shape[2] * images.shape[3] <= SMALL_IMAGE else 1)
    rows = torch.arange(count)
    chosen, label = images[rows % len(images)].contiguous(), labels[rows % len(images)]
    target = torch.where(rows % 2 == 1, (label + 1) % classes, torch.full_like(label, UNTARGETED))
    loss = rows % len(Loss)
    answer = TorchClassifier(network).gradient(chosen, label, target, loss)
    return safetensors.torch.save(
        {
            "images": chosen,
            "label": label,
            "target": target,
            "loss": loss,
            "logits": answer.logits.contiguous(),
            "loss_value": answer.value.contiguous(),
            "gradient": answer.gradient.contiguous(),
        }
    )
