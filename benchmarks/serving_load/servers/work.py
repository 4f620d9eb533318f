"""What every server does for a request: decode, compute, name the five most probable classes."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from engines.load import EngineOptions, load_engine
from engines.preprocess import model_input
from export.bundle import load_bundle
from probes.arrays import Array
from probes.prediction import softmax

BUNDLE, THREADS, WORKERS = (
    "CLEAD_BENCHMARK_BUNDLE",
    "CLEAD_BENCHMARK_THREADS",
    "CLEAD_BENCHMARK_WORKERS",
)
"""Environment variables: the folder of a bundle, threads of each model, processes."""
TOP = 5


class Work:
    """The bundle that the environment names, in ONNX Runtime as we serve it."""

    def __init__(self) -> None:
        self._bundle = load_bundle(Path(os.environ[BUNDLE]))
        options = EngineOptions(
            engine="cpu",
            threads=int(os.environ[THREADS]),
            spinning=False,
            with_gradient=False,
        )
        self._engine = load_engine(self._bundle, options)

    def classify(self, data: bytes) -> dict[str, Any]:
        """The answer for the bytes of one image."""
        return self.classify_image(Image.open(io.BytesIO(data)))

    def classify_image(self, image: Image.Image) -> dict[str, Any]:
        """The answer for one image."""
        return self._answers([image])[0]

    def classify_batch(self, uploads: Sequence[bytes]) -> list[dict[str, Any]]:
        """The answers for several, computed as one batch."""
        return self._answers([Image.open(io.BytesIO(data)) for data in uploads])

    def _answers(self, images: Sequence[Image.Image]) -> list[dict[str, Any]]:
        spec = self._bundle.manifest.input
        batch = np.stack([model_input(image.convert("RGB"), spec) for image in images])
        return [self._answer(row) for row in softmax(self._engine.logits(batch))]

    def _answer(self, probabilities: Array) -> dict[str, Any]:
        classes = self._bundle.manifest.classes
        order = np.argsort(-probabilities)[:TOP]
        return {"predictions": [{"label": classes[i], "probability": float(probabilities[i])} for i in order]}
