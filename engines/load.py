"""Choosing and starting the engine of a bundle, and checking that it computes what was exported."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from engines.accelerators import gpu_present, why_not_cuda, why_not_tensorrt
from engines.engine import Engine, EngineError
from engines.onnx_runtime import OnnxRuntimeEngine
from engines.sample import check_engine
from engines.sessions import CPU, CUDA, TENSORRT, Provider, SessionSettings
from engines.tensorrt_cache import open_cache
from engines.tensorrt_options import context_model, tensorrt_options
from export.bundle import CLASSIFIER, GRADIENT, Bundle, BundleError

if TYPE_CHECKING:
    from engines.triton import TritonEngine

EngineName = Literal["auto", "cpu", "cuda", "tensorrt", "triton"]
ENGINES: tuple[EngineName, ...] = get_args(EngineName)

START_S = 30.0
"""Seconds that one call of a Triton server may take while the engine is started and checked."""
_LARGEST_BATCH = 256
_PIXELS_IN_A_BATCH = 2**20
CUDA_OPTIONS = {
    # The served numerics shall be those that were measured: TF32 rounds products to 10 bits.
    "use_tf32": "0",
    # The default tries every algorithm whenever a batch size is new, which takes seconds.
    "cudnn_conv_algo_search": "HEURISTIC",
    "arena_extend_strategy": "kSameAsRequested",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """Which engine to start, and how.

    `auto` takes CUDA where it works and else the CPU; it never tries TensorRT, which builds its engines for
    minutes. `strict` refuses anything slower than what was asked for, and with `auto` the CPU of a machine
    that has an NVIDIA GPU (`engines.accelerators.gpu_present`). `threads`: per operator on the CPU, 0 for
    every physical core. `max_batch` bounds memory, larger batches run in pieces (None: by the size of the
    images). `cuda_graphs` replays captured CUDA graphs where the provider is CUDA
    (`engines/bound_session.py`). `deadline` bounds one call of a Triton server, in seconds; until the engine
    has started, `START_S` does. `tensorrt_cache` keeps the engines that TensorRT builds.
    """

    engine: EngineName = "auto"
    strict: bool = False
    threads: int = 0
    inter_op_threads: int = 1
    spinning: bool = True
    max_batch: int | None = None
    with_gradient: bool = True
    cuda_graphs: bool = False
    triton_url: str | None = None
    deadline: float = START_S
    tensorrt_cache: Path | None = None


def load_engine(bundle: Bundle, options: EngineOptions | None = None) -> Engine:
    """Starts the engine and checks it against the bundle's sample.

    Raises:
        EngineError: the engine is unknown or does not start, is slower than `strict` allows, or computes
            something else than what was exported.
    """
    options = options or EngineOptions()
    if options.engine not in ENGINES:
        raise EngineError(f"there is no engine {options.engine!r}: accepted are {', '.join(ENGINES)}")
    if options.engine == "triton":
        triton = _triton(bundle, options)
        _check(triton, bundle, options)
        triton.deadline = options.deadline
        return triton
    engine = _onnx_runtime(bundle, options)
    _check(engine, bundle, options)
    return engine


def _check(engine: Engine, bundle: Bundle, options: EngineOptions) -> None:
    """Raises EngineError, and closes the engine, if it computes something else than what was exported."""
    try:
        check_engine(engine, bundle, with_gradient=options.with_gradient)
    except BundleError as error:
        engine.close()
        raise EngineError(str(error)) from error
    except EngineError:
        engine.close()
        raise


def _onnx_runtime(bundle: Bundle, options: EngineOptions) -> Engine:
    providers, reason = choose_providers(options)
    max_batch = options.max_batch or default_max_batch(bundle)
    settings = SessionSettings(
        providers=providers,
        threads=options.threads,
        inter_op_threads=options.inter_op_threads,
        spinning=options.spinning,
        max_batch=max_batch,
        cuda_graphs=options.cuda_graphs,
        reason=reason,
        unused_gpu=gpu_present(),
    )
    if providers[0][0] == TENSORRT:
        settings = _with_tensorrt(bundle, settings, options.tensorrt_cache)
    engine = OnnxRuntimeEngine(bundle, settings=settings, with_gradient=options.with_gradient)
    if options.strict and engine.provider != providers[0][0]:
        engine.close()
        raise _refusal(options, engine.describe().reason or f"ONNX Runtime chose {engine.provider}")
    if options.strict and engine.left_to_cpu is not None:
        engine.close()
        raise _refusal(options, engine.left_to_cpu)
    return engine


def _with_tensorrt(bundle: Bundle, settings: SessionSettings, folder: Path | None) -> SessionSettings:
    cache = open_cache(bundle, max_batch=settings.max_batch, cache=folder)
    graphs = (CLASSIFIER, GRADIENT)
    return replace(
        settings,
        graph_options={
            graph: tensorrt_options(bundle, graph, max_batch=settings.max_batch, cache=cache)
            for graph in graphs
        },
        compiled={graph: context_model(cache.folder, graph) for graph in graphs} if cache.folder else {},
        lock=cache.lock,
        reason=cache.reason,
    )


def choose_providers(options: EngineOptions) -> tuple[tuple[Provider, ...], str | None]:
    """The execution providers to ask ONNX Runtime for, and why not the one that was wished for (None: it is).

    Raises:
        EngineError: strict, and the wish cannot be met.
    """
    cpu: Provider = (CPU, {})
    cuda: Provider = (CUDA, CUDA_OPTIONS)
    if options.engine == "cpu":
        return (cpu,), None
    wishes: list[tuple[Callable[[], str | None], tuple[Provider, ...]]] = [(why_not_cuda, (cuda, cpu))]
    if options.engine == "tensorrt":
        wishes.insert(0, (why_not_tensorrt, ((TENSORRT, {}), cuda, cpu)))
    first_reason: str | None = None
    for why_not, providers in wishes:
        reason = why_not()
        if reason is None:
            return providers, first_reason
        if options.strict and (options.engine != "auto" or gpu_present()):
            raise _refusal(options, reason)
        first_reason = first_reason or reason
    return (cpu,), first_reason


def default_max_batch(bundle: Bundle) -> int:
    """Images in one run: 256 small ones, fewer of larger ones, because activations grow with the pixels."""
    spec = bundle.manifest.input
    return max(1, min(_LARGEST_BATCH, _PIXELS_IN_A_BATCH // (spec.height * spec.width)))


def _refusal(options: EngineOptions, reason: str) -> EngineError:
    return EngineError(
        f"engine {options.engine} is strict and only a slower one would run: {reason}; "
        "or ask for engine cpu, or turn strict off"
    )


def _triton(bundle: Bundle, options: EngineOptions) -> TritonEngine:
    # tritonclient brings grpc, which takes as long to import as ONNX Runtime: only Triton's users pay for it.
    from engines.triton import TritonEngine

    if options.triton_url is None:
        raise EngineError("engine triton needs the address of the server's gRPC port, e.g. localhost:8001")
    return TritonEngine(
        bundle,
        url=options.triton_url,
        deadline=START_S,
        max_batch=options.max_batch or default_max_batch(bundle),
        with_gradient=options.with_gradient,
    )
