"""What would run on this machine, and why nothing faster: the content of `clead doctor`."""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import dataclass

import onnxruntime

from engines.accelerators import gpu_present, why_not_cuda, why_not_tensorrt


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineDiagnosis:
    """Whether one engine would run here. `reason` says why not and what to do (None: it would)."""

    engine: str
    reason: str | None

    @property
    def usable(self) -> bool:
        """Whether it would run."""
        return self.reason is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """This machine, and every local engine from fast to slow."""

    python: str
    platform: str
    processors: int
    onnxruntime: str
    gpu_present: bool
    engines: tuple[EngineDiagnosis, ...]
    chosen: str
    """What engine `auto` takes."""

    @property
    def unused_gpu(self) -> bool:
        """A GPU is present and `auto` would not use it."""
        return self.gpu_present and self.chosen == "cpu"


def diagnose() -> Diagnosis:
    """Looks at this machine. Loads the CUDA libraries where there are any, but no model."""
    cuda = why_not_cuda()
    return Diagnosis(
        python=platform.python_version(),
        platform=f"{sys.platform} {platform.machine()}",
        processors=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        onnxruntime=onnxruntime.__version__,
        gpu_present=gpu_present(),
        engines=(
            EngineDiagnosis(engine="tensorrt", reason=why_not_tensorrt()),
            EngineDiagnosis(engine="cuda", reason=cuda),
            EngineDiagnosis(engine="cpu", reason=None),
        ),
        chosen="cpu" if cuda else "cuda",
    )
