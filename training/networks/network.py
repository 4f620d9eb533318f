"""The shape that all networks share: normalise, backbone, linear classifier."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import torch
from torch import Tensor, nn

from training.folding import convolutions_before

CIFAR10_MEAN = (0.4914, 0.4822, 0.4465)
CIFAR10_STD = (0.2470, 0.2435, 0.2616)


class Normalize(nn.Module):
    """(images - mean) / std per channel, inside the network, so that attacks see pixels in [0, 1]."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: tuple[float, ...] = CIFAR10_MEAN, std: tuple[float, ...] = CIFAR10_STD) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).reshape(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).reshape(1, -1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        return (images - self.mean) / self.std


class Network(nn.Module):
    """Images float32[N, 3, H, W] in [0, 1] to logits [N, K]: normalise, backbone, linear classifier."""

    def __init__(self, backbone: nn.Module, num_features: int, num_classes: int) -> None:
        super().__init__()
        self.num_features = num_features
        self.num_classes = num_classes
        self.normalize = Normalize()
        self.backbone = backbone
        self.fc = nn.Linear(num_features, num_classes)

    @cached_property
    def foldable(self) -> Mapping[str, str]:
        """The batch norms that attacks may fold, and their convolutions; empty where that is unknown."""
        try:
            return convolutions_before(self)
        except ValueError:
            return {}

    def compile_backbone(self) -> None:
        """Compile the backbone (torch.compile). Attacks do not fold it then: compilers fuse layers too."""
        self.backbone.compile()
        self.foldable = {}

    def features(self, images: Tensor) -> Tensor:
        """Backbone features [N, num_features]."""
        features: Tensor = self.backbone(self.normalize(images))
        return features

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.fc(self.features(images))
        return logits
