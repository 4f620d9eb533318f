"""Options of ONNX Runtime's TensorRT execution provider for a bundle. Written to its documentation, not yet
run on hardware.

TensorRT compiles an engine for one GPU, one TensorRT and one range of shapes, which takes minutes; the engine
is kept in a cache folder keyed by all of what it depends on. Precision is that of the graph: TensorRT 11 has
no FP16 switch any more.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping
from pathlib import Path

import onnxruntime

from export.bundle import CLASSIFIER, GRADIENT, Bundle

OPTIMAL_BATCH = 8
"""The batch that TensorRT tunes for; any other up to the largest runs too."""


def tensorrt_options(
    bundle: Bundle, graph: str, *, max_batch: int, cache: Path | None = None
) -> Mapping[str, str]:
    """Provider options for one graph of a bundle.

    Args:
        graph: CLASSIFIER or GRADIENT: each has its own inputs, so its own shape profile.
        max_batch: the largest batch that the engine will be asked for.
        cache: where built engines are kept; `default_cache()` without it.
    """
    folder = (cache or default_cache()) / cache_key(bundle, max_batch=max_batch)
    folder.mkdir(parents=True, exist_ok=True)
    batches = {"min": 1, "opt": min(OPTIMAL_BATCH, max_batch), "max": max_batch}
    options = {
        f"trt_profile_{end}_shapes": profile(bundle, graph, batch=batch) for end, batch in batches.items()
    }
    return options | {
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(folder),
        "trt_engine_cache_prefix": Path(graph).stem,
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": str(folder),
        # ONNX Runtime has read the weights already; TensorRT's parser must not look for the external file
        # again.
        "trt_load_user_initializer": "1",
    }


def profile(bundle: Bundle, graph: str, *, batch: int) -> str:
    """Shapes of the graph's inputs at one batch size, as `name:1x3x32x32,...`."""
    spec = bundle.manifest.input
    images = f"images:{batch}x{spec.channels}x{spec.height}x{spec.width}"
    choices = {CLASSIFIER: (), GRADIENT: ("label", "target", "loss")}[graph]
    return ",".join([images, *(f"{name}:{batch}" for name in choices)])


def cache_key(bundle: Bundle, *, max_batch: int) -> str:
    """Folder name for engines that are interchangeable: model, ONNX Runtime, TensorRT, range of batches.

    ONNX Runtime adds the GPU's compute capability to the file names itself.
    """
    return f"{bundle.sha256[:16]}-ort{onnxruntime.__version__}-trt{tensorrt_version()}-batch{max_batch}"


def default_cache() -> Path:
    """`clead/tensorrt` in the user's cache folder ($XDG_CACHE_HOME, else ~/.cache)."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "clead" / "tensorrt"


def tensorrt_version() -> str:
    """TensorRT's version as its library gives it, e.g. "101601"; "none" where it is not installed."""
    try:
        return str(ctypes.CDLL("libnvinfer.so.10").getInferLibVersion())
    except (OSError, AttributeError):
        return "none"
