"""Networks by name. All take images in [0, 1]: normalisation is their first layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from training.networks.compact_resnet import compact_resnet
from training.networks.network import Network
from training.networks.resnet import resnet18, resnet18_cifar, resnet50

_BACKBONES: dict[str, Callable[..., tuple[nn.Module, int]]] = {
    "compact_resnet": compact_resnet,
    "resnet18_cifar": resnet18_cifar,
    "resnet18": resnet18,
    "resnet50": resnet50,
}


def network_names() -> tuple[str, ...]:
    """The names that `build_network` takes."""
    return tuple(_BACKBONES)


def build_network(name: str, num_classes: int, options: Mapping[str, Any] | None = None) -> Network:
    """A freshly initialised network.

    Args:
        name: one of `network_names()`.
        num_classes: number of logits.
        options: keyword arguments of the network's builder, such as `widths` of compact_resnet.

    Raises:
        ValueError: if the name or an option is unknown.
    """
    if name not in _BACKBONES:
        raise ValueError(f"unknown network {name!r}; accepted are: {', '.join(_BACKBONES)}")
    try:
        backbone, features = _BACKBONES[name](**(options or {}))
    except (TypeError, RuntimeError) as error:
        raise ValueError(f"network {name!r} does not take these options: {error}") from error
    return Network(backbone, features, num_classes)
