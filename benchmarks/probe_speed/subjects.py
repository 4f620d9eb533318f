"""The models that are attacked: each as a bundle for our engine and as the same network in torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from benchmarks.untrained import untrained_bundle
from export.bundle import Bundle, load_bundle, resolve_bundle
from export.rebuild import rebuild_module

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
    bundle = untrained_bundle(folder, name=RESNET, network="resnet18_cifar", classes=classes)
    return _subject(RESNET, bundle)


def _subject(name: str, bundle: Bundle) -> Subject:
    return Subject(name=name, bundle=bundle, network=rebuild_module(bundle).requires_grad_(False))
