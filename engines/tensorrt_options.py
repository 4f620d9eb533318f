"""Options of ONNX Runtime's TensorRT execution provider for a bundle. Written to its documentation, not yet
run on hardware; the names of the options are checked against the provider's library.

TensorRT compiles an engine for one GPU, one TensorRT and one range of shapes, which takes minutes. Engines
are kept (`engines/tensorrt_cache.py`), and so is what they were chosen by (the timing cache) and a model that
consists of a reference to its engine (the EP context), which spares the next start the search through the
graph. Precision is that of the graph, float32: robustness was measured with it, and TensorRT 11 has no FP16
switch any more.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from engines.tensorrt_cache import ENGINES, TensorRtCache
from export.bundle import CLASSIFIER, GRADIENT, Bundle

OPTIMAL_BATCH = 8
"""The batch that TensorRT tunes for; any other up to the largest runs too."""


def tensorrt_options(
    bundle: Bundle, graph: str, *, max_batch: int, cache: TensorRtCache
) -> Mapping[str, str]:
    """Provider options for one graph of a bundle.

    Args:
        graph: CLASSIFIER or GRADIENT: each has its own inputs, so its own shape profile.
        max_batch: the largest batch that the engine will be asked for.
        cache: where built engines are kept, or none.
    """
    options = profiles(bundle, graph, max_batch=max_batch) | {
        # ONNX Runtime has read the weights already; TensorRT's parser must not look for the external file
        # again.
        "trt_load_user_initializer": "1",
    }
    if cache.folder is None:
        return options
    return options | {
        "trt_engine_cache_enable": "1",
        # Relative to the EP context's folder, which must hold what it refers to.
        "trt_engine_cache_path": ENGINES,
        "trt_engine_cache_prefix": Path(graph).stem,
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": str(cache.folder),
        "trt_dump_ep_context_model": "1",
        "trt_ep_context_file_path": str(context_model(cache.folder, graph)),
        "trt_ep_context_embed_mode": "0",
    }


def context_model(folder: Path, graph: str) -> Path:
    """The EP context of a graph in a cache folder: the model to load once it is there."""
    return folder / f"{Path(graph).stem}_ctx.onnx"


def profiles(bundle: Bundle, graph: str, *, max_batch: int) -> dict[str, str]:
    """The batches that TensorRT compiles a graph for, of each input: smallest, tuned for, largest."""
    batches = {"min": 1, "opt": min(OPTIMAL_BATCH, max_batch), "max": max_batch}
    return {
        f"trt_profile_{end}_shapes": profile(bundle, graph, batch=batch) for end, batch in batches.items()
    }


def profile(bundle: Bundle, graph: str, *, batch: int) -> str:
    """Shapes of the graph's inputs at one batch size, as `name:1x3x32x32,...`."""
    spec = bundle.manifest.input
    images = f"images:{batch}x{spec.channels}x{spec.height}x{spec.width}"
    choices = {CLASSIFIER: (), GRADIENT: ("label", "target", "loss")}[graph]
    return ",".join([images, *(f"{name}:{batch}" for name in choices)])
