"""What is attacked: one bundle, in torch and on the engine that serves it, and test images."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from engines.load import EngineOptions, load_engine
from export.bundle import load_bundle
from export.manifest import Manifest
from export.rebuild import rebuild_module
from probes.arrays import Array
from probes.classifier import Classifier
from training.data.images import LabelledImages
from training.data.sources import open_images
from training.evaluation.evaluate import chosen_images

SEED = 0
"""Of the choice of images and of all attacks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A bundle twice: `network` in torch and `engine` on ONNX Runtime hold the same weights."""

    sha256: str
    """Of what the bundle computes (`computed`)."""
    network: nn.Module
    """Images in [0, 1] to logits, in eval mode."""
    engine: Classifier
    """Over NumPy arrays."""
    classes: int
    trained_eps: dict[str, float]
    """The eps it was trained for, by norm."""
    images: LabelledImages

    def identity(self) -> dict[str, str]:
        """What results are results of: the network and the test images, by their SHA-256."""
        return {"model": self.sha256, "images": self.images.digest()}

    def chosen(self, count: int) -> Tensor:
        """int64[count]: places in the test set of `count` images, the ones that `clead evaluate` takes.

        A smaller choice is the beginning of a larger one.
        """
        return chosen_images(len(self.images), count, seed=SEED)

    def answers(self, images: Tensor) -> Tensor:
        """int64[N]: the classes that the network answers."""
        with torch.no_grad():
            found: Tensor = self.network(images).argmax(1)
        return found


def open_subject(bundle: Path, data_dir: Path, *, threads: int = 1) -> Subject:
    """The bundle in the folder `bundle` (`.../<name>/<version>`) with the test images in `data_dir`.

    Raises:
        BundleError, EngineError, DataError: one of them cannot be read.
    """
    loaded = load_bundle(bundle)
    manifest = loaded.manifest
    options = EngineOptions(engine="cpu", threads=threads, spinning=False)
    return Subject(
        sha256=computed(manifest),
        network=_quick(rebuild_module(loaded)),
        engine=load_engine(loaded, options),
        classes=len(manifest.classes),
        trained_eps={} if manifest.threat is None else {manifest.threat.norm: manifest.threat.eps},
        images=open_images(data_dir, "test", dataset=manifest.provenance.dataset, spec=manifest.input),
    )


def _quick(network: nn.Module) -> nn.Module:
    # In this format a gradient takes a quarter less time on a CPU.
    frozen: nn.Module = network.requires_grad_(False).to(memory_format=torch.channels_last)
    return frozen


def computed(manifest: Manifest) -> str:
    """The SHA-256 of the graphs and weights alone: a new version that only adds figures computes the same."""
    files = ("classifier.onnx", "gradient.onnx", "weights.safetensors")
    return hashlib.sha256("".join(manifest.files[name].sha256 for name in files).encode()).hexdigest()


def to_numpy(tensor: Tensor) -> Array:
    """The same values as a NumPy array."""
    return np.ascontiguousarray(tensor.numpy())
