"""A bundle on ONNX Runtime: CPU, CUDA or TensorRT, whichever execution provider it is given."""

from __future__ import annotations

import numpy as np
import onnxruntime

from engines.bound_session import captured_sizes, open_bound
from engines.engine import EngineError, EngineInfo, Floats, Signature
from engines.sessions import CPU, CUDA, TENSORRT, Feed, GraphSession, SessionSettings, open_plain
from export.bundle import CLASSIFIER, GRADIENT, Bundle
from probes.arrays import Array
from probes.classifier import Gradient
from probes.losses import UNTARGETED

_DEVICES = {CPU: "cpu", CUDA: "cuda", TENSORRT: "cuda"}
_OUTPUTS = {CLASSIFIER: ("logits",), GRADIENT: ("logits", "loss_value", "gradient")}


class OnnxRuntimeEngine:
    """`probes.classifier.Classifier` over NumPy arrays. Thread-safe: one session per graph, shared by all
    threads.

    Raises:
        EngineError: a graph does not load.
    """

    def __init__(
        self, bundle: Bundle, *, settings: SessionSettings | None = None, with_gradient: bool = True
    ) -> None:
        self._settings = settings or SessionSettings()
        self._signature = Signature.of(bundle)
        self._classifier = self._open(bundle, CLASSIFIER)
        self._gradient = self._open(bundle, GRADIENT) if with_gradient else None

    @property
    def provider(self) -> str:
        """The provider that ONNX Runtime really uses. It may take one graph and not the other: the engine is
        only as fast as the slower of the two.
        """
        ranked = [name for name, _ in self._settings.providers]
        used = [session.provider for session in self._sessions()]
        return max(used, key=lambda name: ranked.index(name) if name in ranked else len(ranked))

    @property
    def left_to_cpu(self) -> str | None:
        """What the CPU computes that a faster provider was asked to; None: nothing that costs time."""
        left = dict.fromkeys(session.left_to_cpu for session in self._sessions() if session.left_to_cpu)
        return "; ".join(left) or None

    def logits(self, images: Array) -> Array:
        """Logits float32[N, K] of images float32[N, 3, H, W]; raises ValueError for another shape or type."""
        batch = self._signature.images(images)
        parts = [
            self._classifier.run(_OUTPUTS[CLASSIFIER], {"images": batch[rows]})[0]
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
            feed: Feed = {
                "images": batch[rows],
                "label": label[rows],
                "target": target[rows],
                "loss": loss[rows],
            }
            parts.append(self._gradient.run(_OUTPUTS[GRADIENT], feed))
        if not parts:
            empty = np.zeros((0, self._signature.classes), np.float32)
            return Gradient(empty, np.zeros(0, np.float32), np.zeros_like(batch))
        logits, value, gradient = (np.concatenate(column) for column in zip(*parts, strict=True))
        return Gradient(logits, value, gradient)

    def describe(self) -> EngineInfo:
        """What really runs, and why nothing faster does."""
        reasons = [self._settings.reason, *(session.reason for session in self._sessions())]
        return EngineInfo(
            engine="onnxruntime",
            provider=self.provider,
            device=_DEVICES.get(self.provider, self.provider),
            version=onnxruntime.__version__,
            # Both graphs fail for the same reason more often than not.
            reason="; ".join(dict.fromkeys(filter(None, reasons))) or None,
            unused_gpu=self._settings.unused_gpu and self.provider == CPU,
        )

    def close(self) -> None:
        """Ends the threads of the sessions; their memory ends with the object."""
        for session in self._sessions():
            session.close()

    def _sessions(self) -> list[GraphSession]:
        return [session for session in (self._classifier, self._gradient) if session is not None]

    def _open(self, bundle: Bundle, graph: str) -> GraphSession:
        settings = self._settings
        if not (settings.cuda_graphs and settings.providers[0][0] == CUDA):
            return open_plain(bundle, graph, settings)
        example = _example(self._signature, graph, captured_sizes(settings.max_batch)[-1])
        return open_bound(bundle, graph, settings, outputs=_OUTPUTS[graph], example=example)

    def _pieces(self, count: int) -> list[slice]:
        step = self._settings.max_batch
        return [slice(start, start + step) for start in range(0, count, step)]


def _example(signature: Signature, graph: str, count: int) -> Feed:
    """Inputs of a graph that a network answers differently from zeros."""
    shape = (count, signature.channels, signature.height, signature.width)
    images = np.random.default_rng(0).random(shape, dtype=np.float32)
    if graph == CLASSIFIER:
        return {"images": images}
    label = np.arange(count, dtype=np.int64) % signature.classes
    return {
        "images": images,
        "label": label,
        "target": np.full(count, UNTARGETED, np.int64),
        "loss": np.zeros(count, np.int64),
    }
