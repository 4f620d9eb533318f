"""What Triton's python backend runs, as far as that shows without Triton: how it opens its graph."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from export.triton_repository import write_triton_repository
from tests.export.linear_bundle import write_linear_bundle


def _model(path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A model as Triton makes it from model.py."""
    backend = types.ModuleType("triton_python_backend_utils")
    backend.TritonModelException = RuntimeError  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, backend.__name__, backend)
    monkeypatch.setattr(sys, "path", list(sys.path))
    spec = importlib.util.spec_from_file_location("model", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.TritonPythonModel()


@pytest.mark.parametrize(
    ("cores", "instances", "threads"), [(8, 2, 4), (8, 1, 8), (3, 2, 1), (1, 2, 1)], ids=str
)
def test_instances_share_the_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cores: int, instances: int, threads: int
) -> None:
    bundle = write_linear_bundle(tmp_path / "models")
    folder, _ = write_triton_repository(bundle, tmp_path / "repository", backend="python")
    model = _model(folder / "1" / "model.py", monkeypatch)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)), raising=False)
    # As Triton hands it over.
    config = {
        "parameters": {"graph": {"string_value": "classifier.onnx"}},
        "instance_group": [{"name": "linear_0", "kind": "KIND_CPU", "count": instances}],
        "input": [{"name": "images", "dims": [3, 4, 4]}],
        "output": [{"name": "logits", "dims": [4]}],
    }
    model.initialize({"model_config": json.dumps(config), "model_instance_kind": "CPU"})
    assert model._session.get_session_options().intra_op_num_threads == threads
