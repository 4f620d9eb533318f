"""Batches, networks and contexts for tests of objectives."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from training.data.split import generator
from training.networks import build_network
from training.networks.network import Network
from training.objectives.objective import Batch, Context
from training.perturbation import Attack, Perturbation
from training.processes import Processes

SIDE = 32


def make_batch(
    count: int = 6,
    *,
    labels: Sequence[int] | None = None,
    processes: Processes | None = None,
    double: bool = False,
) -> Batch:
    """Random images, labelled in turn unless `labels` says how."""
    images = torch.rand(count, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    part = (processes or Processes()).part(count)
    all_labels = torch.arange(count) % 10 if labels is None else torch.tensor(labels)
    return Batch(
        images=images.double() if double else images,
        part=part,
        batch_samples=torch.arange(count),
        labels=all_labels[part],
        samples=torch.arange(count)[part],
        attack_seed=7,
        generator=generator(0),
    )


def make_network(classes: int = 10) -> Network:
    """A tiny convolutional network in train mode, always the same."""
    torch.manual_seed(0)
    return build_network("compact_resnet", classes, {"widths": [8, 16], "blocks": [1, 1]}).train()


def make_context(
    network: Network, attack: Attack | None = None, *, count: int = 6, processes: Processes | None = None
) -> Context:
    """For batches of `count` images, without autocast."""
    return Context(
        network=network,
        perturbation=Perturbation(attack or Attack(steps=2), network),
        batch_shape=(count, 3, SIDE, SIDE),
        processes=processes or Processes(),
    )


class Pixels(nn.Module):
    """A network whose features are the pixels, so that what it was shown is known."""

    num_features = 3 * SIDE * SIDE

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.fc = nn.Linear(self.num_features, classes)

    def features(self, images: Tensor) -> Tensor:
        """float32[N, 3072]."""
        return images.flatten(1)

    def forward(self, images: Tensor) -> Tensor:
        """float32[N, classes]."""
        logits: Tensor = self.fc(self.features(images))
        return logits
