"""Bundles of networks with random weights: good for times only."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from export.bundle import (
    Architecture,
    Bundle,
    Description,
    InputSpec,
    Provenance,
    ThreatSpec,
    write_bundle,
)
from export.exporter import bundle_files
from export.fold import fold_batch_norm
from training.networks import build_network

SIDE = 32


def untrained_bundle(
    folder: Path,
    *,
    name: str,
    network: str,
    classes: tuple[str, ...],
    options: Mapping[str, Any] | None = None,
) -> Bundle:
    """Exports a network of `training.networks` for 32 x 32 images into `folder/name`."""
    torch.manual_seed(0)
    module = fold_batch_norm(build_network(network, len(classes), options))
    description = Description(
        name=name,
        version="1",
        classes=classes,
        architecture=Architecture(name=network, options=dict(options or {})),
        input=InputSpec(height=SIDE, width=SIDE, resize=SIDE),
        threat=ThreatSpec(norm="linf", eps=8 / 255),
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
    images = torch.rand(6, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    files = bundle_files(module, description, images=images, labels=torch.arange(6) % len(classes))
    return write_bundle(folder / name, description, files)
