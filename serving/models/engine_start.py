"""Starting the engine of a bundle as the settings say."""

from __future__ import annotations

from engines.engine import Engine
from export.bundle import Bundle
from serving.models.cores import usable_cores
from serving.settings import Settings


def engine_threads(settings: Settings) -> int:
    """Threads of an engine on the CPU, in each worker."""
    return settings.engine_threads or max(1, usable_cores() // settings.workers)


def batches_at_once(settings: Settings) -> int:
    """Batches that each worker's share of the cores computes at the same time. More would take the cores, and
    what they keep at hand, from each other.
    """
    return max(1, usable_cores() // (settings.workers * engine_threads(settings)))


def start_engine(bundle: Bundle, settings: Settings, *, with_gradient: bool) -> Engine:
    """The engine that the settings choose, checked against the bundle's sample.

    Args:
        with_gradient: whether the gradient graph is started too.

    Raises:
        EngineError: it does not start, or computes something else than was exported.
    """
    # ONNX Runtime takes a third of a second to import: only a process that loads a model pays for it.
    from engines.load import EngineOptions, load_engine

    options = EngineOptions(
        engine=settings.engine,
        strict=settings.engine_strict,
        threads=engine_threads(settings),
        # Threads that wait actively take the cores from the event loop, the decoders and the probes.
        spinning=False,
        with_gradient=with_gradient,
        cuda_graphs=settings.cuda_graphs,
        triton_url=settings.triton_url,
        # Nobody waits any longer for what it computes.
        deadline=(settings.probe_max_deadline_ms if with_gradient else settings.classify_deadline_ms) / 1000,
    )
    return load_engine(bundle, options)
