"""What the bundles that tests write by hand share: the manifest, and the files around two graphs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from safetensors.numpy import save

from export.bundle import Architecture, Description, InputSpec, Metric, Provenance, ThreatSpec


def handwritten_description(
    *, name: str, version: str, classes: Sequence[str], side: int, architecture: str
) -> Description:
    """A manifest without its files: an l-inf model of `side` x `side` pixels that nobody trained."""
    return Description(
        name=name,
        version=version,
        classes=tuple(classes),
        architecture=Architecture(name=architecture),
        input=InputSpec(height=side, width=side, resize=side),
        threat=ThreatSpec(norm="linf", eps=8 / 255),
        provenance=Provenance(
            objective="none",
            recipe={},
            dataset="none",
            seed=0,
            commit="unknown",
            created="2026-01-01T00:00:00Z",
        ),
        metrics=(Metric(name="clean", accuracy=0.5, n=8),),
        checks=(),
        evaluation_command="",
    )


def handwritten_files(
    *,
    classifier: onnx.ModelProto,
    gradient: onnx.ModelProto,
    weights: bytes,
    sample: Mapping[str, np.ndarray],
) -> dict[str, bytes]:
    """The content of every file but the manifest, by name."""
    return {
        "classifier.onnx": classifier.SerializeToString(),
        "gradient.onnx": gradient.SerializeToString(),
        "weights.safetensors": weights,
        "sample.safetensors": save(dict(sample)),
        "MODEL_CARD.md": b"# Written by hand\n",
    }
