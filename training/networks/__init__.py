"""Networks by name. All take images in [0, 1]: normalisation is their first layer."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from training.networks.compact_resnet import compact_resnet
from training.networks.network import Network
from training.networks.resnet import resnet18, resnet18_cifar, resnet50
from training.section import RecipeError

_BACKBONES: dict[str, Callable[..., tuple[nn.Module, int]]] = {
    "compact_resnet": compact_resnet,
    "resnet18_cifar": resnet18_cifar,
    "resnet18": resnet18,
    "resnet50": resnet50,
}


def build_network(name: str, num_classes: int, options: Mapping[str, Any] | None = None) -> Network:
    """A freshly initialised network.

    Args:
        name: compact_resnet, resnet18_cifar, resnet18 or resnet50.
        num_classes: number of logits.
        options: keyword arguments of the network's builder, such as `widths` of compact_resnet.

    Raises:
        RecipeError: if the name or an option is unknown, or an option's value is not accepted.
    """
    if name not in _BACKBONES:
        raise RecipeError(f"unknown network {name!r}; accepted are: {', '.join(_BACKBONES)}")
    builder = _BACKBONES[name]
    try:
        backbone, features = builder(**(options or {}))
    except (TypeError, ValueError, RuntimeError) as error:
        accepted = ", ".join(inspect.signature(builder).parameters) or "none"
        raise RecipeError(
            f"network {name!r} does not take the options {dict(options or {})}: {error}; "
            f"its options are: {accepted}"
        ) from error
    return Network(backbone, features, num_classes)
