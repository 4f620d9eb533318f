"""Rebuilding a bundle's network in torch: for evaluation, and for exporting it again."""

from __future__ import annotations

import safetensors.torch
from safetensors import SafetensorError
from torch import nn

from export.bundle import WEIGHTS, Bundle, BundleError
from export.fold import fold_batch_norm
from training.networks import build_network


def rebuild_module(bundle: Bundle) -> nn.Module:
    """The network of `bundle` with its weights, batch norm folded, in eval mode: images in [0, 1] to logits
    [N, K].

    Raises:
        BundleError: the manifest's architecture is unknown here, or the weights are not those of it.
    """
    manifest = bundle.manifest
    architecture = manifest.architecture
    path = bundle.file(WEIGHTS)
    try:
        network = fold_batch_norm(
            build_network(architecture.name, len(manifest.classes), architecture.options)
        )
        network.load_state_dict(safetensors.torch.load(path.read_bytes()))
    except ValueError as error:
        raise BundleError(f"{bundle.path}: its network cannot be rebuilt: {error}") from error
    except (RuntimeError, SafetensorError) as error:
        raise BundleError(f"{path} does not hold the weights of {architecture.name}: {error}") from error
    return network
