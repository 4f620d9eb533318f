"""The models that are attacked: each as a bundle for our engine and as the same network in torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from export.bundle import (
    Architecture,
    Bundle,
    Description,
    InputSpec,
    Provenance,
    ThreatSpec,
    load_bundle,
    resolve_bundle,
    write_bundle,
)
from export.exporter import bundle_files
from export.fold import fold_batch_norm
from export.rebuild import rebuild_module
from training.networks import build_network

REPOSITORY = Path(__file__).parents[2]
BUNDLED = "clead-cifar10"
RESNET = "resnet18"
EPS = 8 / 255


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One network twice.

    In torch too its batch norms are folded and no weight asks for a gradient, which is faster than what most
    users of the libraries run.
    """

    name: str
    bundle: Bundle
    network: nn.Module


def bundled() -> Subject:
    """The model that comes with the repository."""
    return _subject(BUNDLED, load_bundle(resolve_bundle(REPOSITORY / "models", BUNDLED)))


def resnet18(folder: Path, *, classes: tuple[str, ...]) -> Subject:
    """A ResNet-18 for 32x32 images with random weights, exported into `folder`: good for times only."""
    torch.manual_seed(0)
    network = fold_batch_norm(build_network("resnet18_cifar", len(classes)))
    description = Description(
        name=RESNET,
        version="1",
        classes=classes,
        architecture=Architecture(name="resnet18_cifar"),
        input=InputSpec(height=32, width=32, resize=32),
        threat=ThreatSpec(norm="linf", eps=EPS),
        provenance=Provenance(
            objective="none",
            recipe={},
            dataset="none",
            seed=0,
            commit="unknown",
            created="2026-01-01T00:00:00Z",
        ),
        metrics=(),
        checks=(),
        evaluation_command="",
    )
    images = torch.rand(6, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    files = bundle_files(network, description, images=images, labels=torch.arange(6) % len(classes))
    return _subject(RESNET, write_bundle(folder / RESNET, description, files))


def _subject(name: str, bundle: Bundle) -> Subject:
    return Subject(name=name, bundle=bundle, network=rebuild_module(bundle).requires_grad_(False))
