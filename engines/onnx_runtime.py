"""A bundle on ONNX Runtime: CPU, CUDA or TensorRT, whichever execution provider it is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnxruntime

from engines.engine import EngineError, EngineInfo, Floats, Integers, Signature
from export.bundle import CLASSIFIER, GRADIENT, Bundle
from probes.arrays import Array
from probes.classifier import Gradient

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
TENSORRT = "TensorrtExecutionProvider"
DEVICES = {CPU: "cpu", CUDA: "cuda", TENSORRT: "cuda"}

Provider = tuple[str, Mapping[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionSettings:
    """How ONNX Runtime runs a graph.

    `providers` are tried in order, each with its options; `graph_options` adds options of the first one for
    single graphs, by file name. `threads` works inside one operator (0: one for each physical core). Turn
    `spinning` off where several processes share the cores: idle threads then sleep. `max_batch` bounds
    memory: larger batches are run in pieces.
    """

    providers: tuple[Provider, ...] = ((CPU, {}),)
    graph_options: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    threads: int = 0
    inter_op_threads: int = 1
    spinning: bool = True
    max_batch: int = 256
    reason: str | None = None
    unused_gpu: bool = False

    def __post_init__(self) -> None:
        if not self.providers:
            raise ValueError(f"no execution provider is given: give at least {CPU}")
        if self.threads < 0 or self.inter_op_threads < 0 or self.max_batch < 1:
            raise ValueError("threads and inter_op_threads must be 0 or more, and max_batch 1 or more")


class OnnxRuntimeEngine:
    """`probes.classifier.Classifier` over NumPy arrays. Thread-safe: one session per graph, shared by all
    threads.

    `provider` is the provider that ONNX Runtime really uses for the graphs, read back after they were loaded.

    Raises:
        EngineError: a graph does not load.
    """

    def __init__(
        self, bundle: Bundle, *, settings: SessionSettings | None = None, with_gradient: bool = True
    ) -> None:
        self._settings = settings or SessionSettings()
        self._signature = Signature.of(bundle)
        self._classifier = _session(bundle, CLASSIFIER, self._settings)
        self._gradient = _session(bundle, GRADIENT, self._settings) if with_gradient else None
        used = [session.get_providers()[0] for session in (self._classifier, self._gradient) if session]
        # A provider may take one graph and not the other: the engine is only as fast as the slower of the
        # two.
        ranked = [name for name, _ in self._settings.providers]
        self.provider = max(used, key=lambda name: ranked.index(name) if name in ranked else len(ranked))

    def logits(self, images: Array) -> Array:
        """Logits float32[N, K] of images float32[N, 3, H, W]; raises ValueError for another shape or type."""
        batch = self._signature.images(images)
        parts = [
            self._run(self._classifier, ("logits",), {"images": batch[rows]})[0]
            for rows in self._pieces(len(batch))
        ]
        return np.concatenate(parts) if parts else np.zeros((0, self._signature.classes), np.float32)

    def gradient(self, images: Array, labels: Array, targets: Array, losses: Array) -> Gradient:
        """Logits, loss and input gradient; arguments as in `probes.losses.loss_and_cotangent`, int64[N] each.

        Raises:
            ValueError: wrong shape, type or range of an argument.
            EngineError: the engine was started without the gradient graph, or the run failed.
        """
        if self._gradient is None:
            raise EngineError(
                "this engine was started without the gradient graph: start it with_gradient=True"
            )
        batch = self._signature.images(images)
        label, target, loss = self._signature.choices(labels, targets, losses, count=len(batch))
        parts: list[list[Floats]] = []
        for rows in self._pieces(len(batch)):
            feed: dict[str, Floats | Integers] = {"images": batch[rows]}
            feed |= {"label": label[rows], "target": target[rows], "loss": loss[rows]}
            parts.append(self._run(self._gradient, ("logits", "loss_value", "gradient"), feed))
        if not parts:
            empty = np.zeros((0, self._signature.classes), np.float32)
            return Gradient(empty, np.zeros(0, np.float32), np.zeros_like(batch))
        logits, value, gradient = (np.concatenate(column) for column in zip(*parts, strict=True))
        return Gradient(logits, value, gradient)

    def describe(self) -> EngineInfo:
        """What really runs, and why nothing faster does."""
        wished = self._settings.providers[0][0]
        reason = self._settings.reason
        if self.provider != wished:
            reason = f"{wished} did not load and ONNX Runtime fell back to {self.provider}: its log says why"
        return EngineInfo(
            engine="onnxruntime",
            provider=self.provider,
            device=DEVICES.get(self.provider, self.provider),
            version=onnxruntime.__version__,
            reason=reason,
            unused_gpu=self._settings.unused_gpu and self.provider == CPU,
        )

    def close(self) -> None:
        """Nothing to release: sessions end with the object."""

    def _pieces(self, count: int) -> list[slice]:
        step = self._settings.max_batch
        return [slice(start, start + step) for start in range(0, count, step)]

    def _run(
        self,
        session: onnxruntime.InferenceSession,
        outputs: Sequence[str],
        feed: Mapping[str, Floats | Integers],
    ) -> list[Floats]:
        try:
            answer: list[Floats] = session.run(list(outputs), dict(feed))
        except Exception as error:  # ONNX Runtime's exceptions share no base class of their own
            raise EngineError(f"ONNX Runtime failed on a batch of {len(feed['images'])}: {error}") from error
        return answer


def _session(bundle: Bundle, graph: str, settings: SessionSettings) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = settings.threads
    options.inter_op_num_threads = settings.inter_op_threads
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(settings.spinning)))
    providers = [(name, dict(provider_options)) for name, provider_options in settings.providers]
    providers[0][1].update(settings.graph_options.get(graph, {}))
    try:
        session = onnxruntime.InferenceSession(bundle.file(graph), sess_options=options, providers=providers)
    except Exception as error:  # ONNX Runtime's exceptions share no base class of their own
        raise EngineError(f"ONNX Runtime {onnxruntime.__version__} does not load {graph}: {error}") from error
    # Without this a failing run would rebuild the session on another provider, unseen.
    session.disable_fallback()
    return session
