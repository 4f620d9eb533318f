"""The models that servers under load compute: `--model` of the benchmarks."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from export.bundle import load_bundle, resolve_bundle

REPOSITORY = Path(__file__).parents[1]
BUNDLED = "bundled"
NETWORKS: Mapping[str, tuple[str, Mapping[str, Any]] | None] = MappingProxyType(
    {
        BUNDLED: None,
        "tiny": ("compact_resnet", {"widths": [8, 16], "blocks": [1, 1], "stem_stride": 2}),
        "resnet18": ("resnet18_cifar", {}),
    }
)
"""A network of `training.networks` and its options; None for the bundled model."""


def add_model_option(parser: argparse.ArgumentParser) -> None:
    """`--model`, which `bundle_path` takes."""
    parser.add_argument(
        "--model",
        choices=tuple(NETWORKS),
        default=BUNDLED,
        help="what is computed; all but bundled untrained",
    )


def bundle_path(model: str, folder: Path) -> Path:
    """The bundle of a model of `NETWORKS`, made in `folder` unless it is the bundled one."""
    bundled = load_bundle(resolve_bundle(REPOSITORY / "models", "clead-cifar10"))
    if (network := NETWORKS[model]) is None:
        return bundled.path.resolve()
    # Exporting takes torch, which the bundled model does without.
    from benchmarks.untrained import untrained_bundle

    name, options = network
    classes = bundled.manifest.classes
    return untrained_bundle(folder, name=model, network=name, classes=classes, options=options).path.resolve()
