"""What the agreement measurements take for the same model."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")

from benchmarks.agreement.subject import computed
from export.bundle import load_bundle, resolve_bundle
from export.manifest import FileEntry


def test_a_model_is_what_it_computes_whatever_was_measured_of_it() -> None:
    manifest = load_bundle(resolve_bundle(Path(__file__).parents[2] / "models", "clead-cifar10")).manifest
    other = FileEntry(sha256="0" * 64, bytes=1)

    def with_another(name: str) -> str:
        return computed(manifest.model_copy(update={"files": {**manifest.files, name: other}}))

    assert computed(manifest.model_copy(update={"version": "3", "metrics": []})) == computed(manifest)
    assert with_another("MODEL_CARD.md") == computed(manifest)
    changed = {with_another(name) for name in ("classifier.onnx", "gradient.onnx", "weights.safetensors")}
    assert len(changed | {computed(manifest)}) == 4
