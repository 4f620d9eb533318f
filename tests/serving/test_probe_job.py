"""A probe without HTTP, on engines whose answers cannot be probed."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from engines.engine import Floats
from engines.onnx_runtime import OnnxRuntimeEngine
from export.bundle import load_bundle
from probes.request import ProbeRequest
from serving.models.model import Model
from serving.probing.job import ProbeJob
from serving.problems import Problem
from tests.serving import pictures


class Undefined(OnnxRuntimeEngine):
    """Answers every image with NaN."""

    def logits(self, images: Floats) -> Floats:
        return np.full_like(super().logits(images), np.nan)


class OneClass(OnnxRuntimeEngine):
    """Answers with the first logit only."""

    def logits(self, images: Floats) -> Floats:
        return super().logits(images)[:, :1]


@pytest.mark.parametrize("engine", [Undefined, OneClass])
def test_a_model_without_a_usable_answer_is_not_the_fault_of_the_request(
    models_dir: Path, engine: type[OnnxRuntimeEngine]
) -> None:
    bundle = load_bundle(models_dir / "colors" / "1")
    running = engine(bundle)
    job = ProbeJob(
        model=Model(bundle=bundle, engine=running, info=running.describe()),
        data=pictures.plain(),
        request=ProbeRequest(),
        max_pixels=10_000,
        deadline=time.monotonic() + 60.0,
    )

    with pytest.raises(Problem) as caught:
        job.run(cancelled=lambda: False)

    assert caught.value.code == "engine_failed"
