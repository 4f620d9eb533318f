"""Our PGD as it is timed, and the gradient of one step in torch.

Everyone takes the same number of steps of 2/255 from a random start inside 8/255 and attacks the classes that
the model predicts. Ours evaluates the point after the last step too: one gradient more than torchattacks.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.probe_speed.subjects import EPS
from probes.attacks.pgd import pgd
from probes.classifier import Classifier
from probes.losses import UNTARGETED, Loss
from probes.objective import untargeted
from probes.threat import Linf

STEP = 2 / 255
OURS, EARLY, BARE = "ours", "ours, early stop", "bare gradients"
FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}

Action = Callable[[], object]


def ours(classifier: Classifier, images: Tensor, labels: Tensor, *, steps: int) -> dict[str, Action]:
    """Our attack, the same with early stopping, and as many bare gradient calls as it makes."""
    pixels, classes = images.contiguous().numpy(), labels.numpy()
    eps = np.full(len(pixels), EPS, np.float32)
    step_size = np.full(len(pixels), STEP, np.float32)
    targets, losses = np.full_like(classes, UNTARGETED), np.full_like(classes, int(Loss.CROSS_ENTROPY))

    def attack(early_stop: bool) -> object:
        objective = untargeted(classifier, classes)
        return pgd(
            objective,
            pixels,
            threat=Linf(),
            eps=eps,
            steps=steps,
            step_size=step_size,
            early_stop=early_stop,
        )

    def bare() -> None:
        for _ in range(steps + 1):
            classifier.gradient(pixels, classes, targets, losses)

    return {OURS: lambda: attack(False), EARLY: lambda: attack(True), BARE: bare}


def input_gradient(network: nn.Module, images: Tensor, labels: Tensor, memory_format: str) -> Action:
    """One step's gradient in torch, with which the faster memory format is found."""
    layout = FORMATS[memory_format]
    network, images = network.to(memory_format=layout), images.contiguous(memory_format=layout)

    def gradient() -> object:
        points = images.detach().requires_grad_(True)
        loss = functional.cross_entropy(network(points), labels, reduction="sum")
        return torch.autograd.grad(loss, points)

    return gradient
