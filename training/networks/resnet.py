"""torchvision's ResNets, for photographs and, with a small stem, for 32x32 images."""

from __future__ import annotations

from torch import nn
from torchvision import models


def resnet18_cifar() -> tuple[nn.Module, int]:
    """ResNet-18 for 32x32 images: a 3x3 stem of stride 1 and no max pooling."""
    net = models.resnet18(weights=None)
    net.conv1 = nn.Conv2d(3, 64, 3, 1, padding=1, bias=False)
    nn.init.kaiming_normal_(net.conv1.weight, mode="fan_out", nonlinearity="relu")
    net.maxpool = nn.Identity()
    return _backbone(net)


def resnet18() -> tuple[nn.Module, int]:
    """torchvision's ResNet-18 with its 7x7 stem and max pooling, for photographs."""
    return _backbone(models.resnet18(weights=None))


def resnet50() -> tuple[nn.Module, int]:
    """torchvision's ResNet-50 with its 7x7 stem and max pooling, for photographs."""
    return _backbone(models.resnet50(weights=None))


def _backbone(net: models.ResNet) -> tuple[nn.Module, int]:
    features = net.fc.in_features
    net.fc = nn.Identity()
    return net, features
