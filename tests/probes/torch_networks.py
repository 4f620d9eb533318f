"""Torch networks as classifiers with gradients, and a small one fitted to real images."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from export.manifest import InputSpec
from probes.arrays import Array
from probes.classifier import Gradient
from probes.losses import loss_and_cotangent
from training.data.sources import open_images

_IMAGES = Path(__file__).parent.parent / "data"


class TorchClassifier:
    """A torch network as a classifier with input gradients."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network

    def logits(self, images: Array) -> Array:
        with torch.no_grad():
            return self.network(images)

    def gradient(self, images: Array, labels: Array, targets: Array, losses: Array) -> Gradient:
        points = images.detach().requires_grad_(True)
        logits = self.network(points)
        value, cotangent = loss_and_cotangent(logits.detach(), labels, targets, losses)
        (gradient,) = torch.autograd.grad(logits, points, cotangent)
        return Gradient(logits.detach(), value, gradient)


def photographs(split: str, count: int) -> tuple[Tensor, Tensor]:
    """The first images of CIFAR-10's `split`: float32[count, 3, 32, 32] in [0, 1], and int64[count]."""
    spec = InputSpec(height=32, width=32, resize=32)
    images = open_images(_IMAGES, split, dataset="cifar10", spec=spec)
    return images.batch(torch.arange(count), torch.device("cpu"))


def fitted() -> nn.Module:
    """A small network that knows 200 training images."""
    images, labels = photographs("train", 200)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(8, 16, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(1024, 10),
        )
    optimiser = torch.optim.Adam(network.parameters(), lr=0.005)
    for _ in range(80):
        optimiser.zero_grad()
        nn.functional.cross_entropy(network(images), labels).backward()
        optimiser.step()
    return network.eval().requires_grad_(False)
