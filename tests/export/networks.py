"""Small networks with what the exporter must cope with, and images for them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

from export.bundle import InputSpec
from training.networks import build_network
from training.networks.network import Normalize

CLASSES = 5


def small_network(name: str) -> nn.Module:
    """A network by name, with batch statistics and affine parameters away from their start, in eval mode."""
    torch.manual_seed(0)
    networks = {
        "compact_resnet": lambda: build_network(
            "compact_resnet", CLASSES, {"widths": [4, 6], "blocks": [1, 1]}
        ),
        "compact_resnet_stride_1": lambda: build_network(
            "compact_resnet", CLASSES, {"widths": [4, 6], "blocks": [1, 2], "stem_stride": 1}
        ),
        "max_pool_basic": lambda: nn.Sequential(
            Normalize(), ResNet(BasicBlock, [1, 1, 1, 1], num_classes=CLASSES)
        ),
        "max_pool_bottleneck": lambda: nn.Sequential(
            Normalize(), ResNet(Bottleneck, [1, 1, 1, 1], num_classes=CLASSES)
        ),
        "norm_before_convolution": norm_before_convolution,
    }
    network = networks[name]()
    for module in network.modules():
        if (
            isinstance(module, nn.BatchNorm2d)
            and module.running_mean is not None
            and module.running_var is not None
        ):
            nn.init.uniform_(module.running_mean, -0.3, 0.3)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.3, 0.3)
    return network.eval()


NAMES = (
    "compact_resnet",
    "compact_resnet_stride_1",
    "max_pool_basic",
    "max_pool_bottleneck",
    "norm_before_convolution",
)


def norm_before_convolution() -> nn.Module:
    """Batch norm that no convolution precedes, a grouped convolution, and ordinary max pooling."""
    return nn.Sequential(
        Normalize(),
        nn.Conv2d(3, 8, 3, padding=1),
        nn.ReLU(),
        nn.BatchNorm2d(8),
        nn.Conv2d(8, 8, 3, padding=1, groups=2),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, CLASSES),
    )


def spec(side: int = 16) -> InputSpec:
    return InputSpec(height=side, width=side, resize=side)


def random_images(count: int, side: int = 16, seed: int = 0) -> Tensor:
    """float32[count, 3, side, side] in [0, 1]."""
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(seed))
