"""Building TensorRT engines for a bundle ahead of serving, through ONNX Runtime's TensorRT provider.

Written to the documentation of ONNX Runtime 1.31 and TensorRT 10; it has not been run on hardware. Engines
have the precision of the graphs, float32: TensorRT 11 has no switch for half precision, so another precision
would be another export.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engines.engine import EngineError, EngineInfo
from engines.load import EngineOptions, choose_providers, default_max_batch, load_engine
from engines.sample import load_sample
from engines.tensorrt_cache import cache_key, default_cache
from engines.tensorrt_options import OPTIMAL_BATCH
from export.bundle import Bundle


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorRtBuild:
    """The engines that were built: what runs them, and the folder that holds them."""

    info: EngineInfo
    folder: Path


def build_tensorrt_engines(
    bundle: Bundle, *, max_batch: int | None = None, cache: Path | None = None
) -> TensorRtBuild:
    """Builds the engines of both graphs for this machine's GPU, checks them on the sample, and keeps them.

    A server that starts with engine `tensorrt`, the same `max_batch` and the same cache finds them and starts
    at once.

    Args:
        max_batch: the largest batch of the server's engine; its default without it.
        cache: where engines are kept; `engines.tensorrt_cache.default_cache()` without it.

    Raises:
        EngineError: TensorRT is not usable here (says why), the cache is not, or an engine disagrees with the
            export.
    """
    _, reason = choose_providers(EngineOptions(engine="tensorrt"))
    if reason is not None:
        raise EngineError(f"TensorRT cannot be used here: {reason}")
    folder = cache or default_cache()
    largest = max_batch or default_max_batch(bundle)
    options = EngineOptions(engine="tensorrt", strict=True, max_batch=largest, tensorrt_cache=folder)
    engine = load_engine(bundle, options)
    sample = load_sample(bundle)
    for batch in sorted({1, min(OPTIMAL_BATCH, largest), largest}):
        rows = np.arange(batch) % len(sample.images)
        engine.logits(sample.images[rows])
        engine.gradient(sample.images[rows], sample.label[rows], sample.target[rows], sample.loss[rows])
    info = engine.describe()
    engine.close()
    if info.reason is not None:
        raise EngineError(f"the engines were built and not kept: {info.reason}")
    return TensorRtBuild(info=info, folder=folder / cache_key(bundle, max_batch=largest))
