"""Sessions of ONNX Runtime: how a graph is opened, and what runs it when its provider does not load."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import onnxruntime

from engines.engine import EngineError, Floats, Integers
from engines.tensorrt_cache import one_process_at_a_time
from export.bundle import WEIGHTS, Bundle

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
TENSORRT = "TensorrtExecutionProvider"

_RECORD_PLACEMENT = "session.record_ep_graph_assignment_info"
_COSTLY = frozenset({"Conv", "FusedConv", "ConvTranspose", "Gemm", "FusedGemm", "MatMul", "FusedMatMul"})
"""Where a network spends its time. Others ONNX Runtime leaves to the CPU on purpose, those that compute
shapes; its option `session.disable_cpu_ep_fallback` knows no difference, and would refuse every gradient.
"""

Provider = tuple[str, Mapping[str, str]]
Feed = Mapping[str, Floats | Integers]
_LOG = logging.getLogger("clead.engines")


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionSettings:
    """How ONNX Runtime runs a graph.

    `providers` are tried in order, each with its options; `graph_options` adds options of the first one for
    single graphs, by file name, and `compiled` names a graph that it has compiled already, which is tried
    before anything else. Processes that name the same `lock` open their sessions one after the other.
    `threads` works inside one operator (0: one for each physical core). Turn `spinning` off where several
    processes share the cores: idle threads then sleep. `max_batch` bounds memory: larger batches are run in
    pieces. `cuda_graphs`: replay captured CUDA graphs, where CUDA comes first.
    """

    providers: tuple[Provider, ...] = ((CPU, {}),)
    graph_options: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    compiled: Mapping[str, Path] = field(default_factory=dict)
    lock: Path | None = None
    threads: int = 0
    inter_op_threads: int = 1
    spinning: bool = True
    max_batch: int = 256
    cuda_graphs: bool = False
    reason: str | None = None
    unused_gpu: bool = False

    def __post_init__(self) -> None:
        if not self.providers:
            raise ValueError(f"no execution provider is given: give at least {CPU}")
        if self.threads < 0 or self.inter_op_threads < 0 or self.max_batch < 1:
            raise ValueError("threads and inter_op_threads must be 0 or more, and max_batch 1 or more")


class GraphSession(Protocol):
    """A graph that runs from arrays to arrays; several threads may share it."""

    provider: str
    """The execution provider in use, read back after the graph was loaded."""

    left_to_cpu: str | None
    """What the CPU computes of it that another provider was asked to, where that costs time."""

    @property
    def reason(self) -> str | None:
        """Why nothing faster runs it; None: nothing faster was asked for."""

    def run(self, outputs: Sequence[str], feed: Feed) -> list[Floats]:
        """The outputs, in this order; raises EngineError when ONNX Runtime fails."""

    def close(self) -> None:
        """Releases threads and memory; calling the session afterwards is an error."""


class PlainSession:
    """A session that is handed its inputs and hands back its outputs with each run."""

    def __init__(self, session: onnxruntime.InferenceSession, *, reason: str | None) -> None:
        self._session = session
        self.provider: str = session.get_providers()[0]
        self.left_to_cpu = None if self.provider == CPU else _left_to_cpu(session)
        self.reason = "; ".join(filter(None, (reason, self.left_to_cpu))) or None

    def run(self, outputs: Sequence[str], feed: Feed) -> list[Floats]:
        """One run; raises EngineError when it fails."""
        return run_session(self._session, outputs, feed)

    def close(self) -> None:
        """Nothing to release: the session ends with the object."""


def run_session(
    session: onnxruntime.InferenceSession,
    outputs: Sequence[str],
    feed: Feed,
    options: onnxruntime.RunOptions | None = None,
) -> list[Floats]:
    """One run from arrays to arrays; raises EngineError when it fails."""
    try:
        answer: list[Floats] = session.run(list(outputs), dict(feed), options)
    except Exception as error:  # ONNX Runtime's exceptions share no base class of their own
        raise EngineError(f"ONNX Runtime failed on a batch of {len(feed['images'])}: {error}") from error
    return answer


def open_plain(bundle: Bundle, graph: str, settings: SessionSettings) -> PlainSession:
    """Opens a graph with the first provider that loads it. Each that does not is logged, and stands in
    `reason`.

    Raises:
        EngineError: no provider loads the graph.
    """
    providers = list(settings.providers)
    first = (providers[0][0], {**providers[0][1], **settings.graph_options.get(graph, {})})
    attempts = [(Path(bundle.file(graph)), [first, *providers[1:]])]
    attempts += [(Path(bundle.file(graph)), providers[start:]) for start in range(1, len(providers))]
    compiled = settings.compiled.get(graph)
    if compiled is not None and compiled.is_file():
        attempts.insert(0, (compiled, providers))
    failures: list[str] = []
    last: EngineError | None = None
    with one_process_at_a_time(settings.lock) if settings.lock else nullcontext():
        for model, attempt in attempts:
            try:
                session = open_session(model, attempt, settings)
            except EngineError as error:
                last = error
                failures.append(f"{attempt[0][0]}: {error}")
                continue
            if failures:
                _LOG.warning("%s runs %s after: %s", session.get_providers()[0], graph, "; ".join(failures))
            return PlainSession(session, reason=_why_not(providers[0][0], session, failures, settings.lock))
    raise last or EngineError(f"no execution provider loads {graph}")


def _left_to_cpu(session: onnxruntime.InferenceSession) -> str | None:
    placed = [
        (subgraph.ep_name, node.op_type)
        for subgraph in session.get_provider_graph_assignment_info()
        for node in subgraph.get_nodes()
    ]
    costly = [provider for provider, operator in placed if operator in _COSTLY]
    left = costly.count(CPU)
    return f"the CPU computes {left} of its {len(costly)} convolutions and matrix products" if left else None


def _why_not(
    wished: str, session: onnxruntime.InferenceSession, failures: Sequence[str], lock: Path | None
) -> str | None:
    provider = session.get_providers()[0]
    if provider == wished:
        return None
    why = "; ".join(failures) or "its log says why"
    reason = f"{wished} did not load and ONNX Runtime fell back to {provider}: {why}"
    if lock is None:
        return reason
    # Absolute paths are nobody's business over HTTP; the log has them.
    reason = reason.replace(f"{lock.parent.parent}/", "")
    return f"{reason}; if what the cache {lock.parent.name} holds is damaged, remove it"


def open_session(
    model: Path, providers: Sequence[Provider], settings: SessionSettings
) -> onnxruntime.InferenceSession:
    """A session of ONNX Runtime that never changes its providers by itself.

    Raises:
        EngineError: the graph does not load with the first of these providers.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = settings.threads
    options.inter_op_num_threads = settings.inter_op_threads
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry(_RECORD_PLACEMENT, "1")
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(settings.spinning)))
    try:
        if providers[0][0] == CPU:
            # It would compute with the mapped file, and one that is cut off in place later ends the process
            # (SIGBUS). Other devices have copies.
            weights = model.with_name(WEIGHTS).read_bytes()
            options.add_external_initializers_from_files_in_memory([WEIGHTS], [weights], [len(weights)])
        # Its own fallback would take CUDA without the options that keep the numerics, and tell nobody; and
        # after a failing run it would rebuild the session on another provider.
        return onnxruntime.InferenceSession(
            str(model),
            sess_options=options,
            providers=[(name, dict(provider_options)) for name, provider_options in providers],
            enable_fallback=0,
        )
    except Exception as error:  # ONNX Runtime's exceptions share no base class of their own
        raise EngineError(
            f"ONNX Runtime {onnxruntime.__version__} does not load {model.name}: {error}"
        ) from error
