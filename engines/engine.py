"""What every engine has in common: the protocol, how it describes itself, the checks of what it is given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from export.bundle import Bundle
from probes.classifier import Classifier
from probes.losses import UNTARGETED, Loss

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]


class EngineError(RuntimeError):
    """An engine cannot start, disagrees with its bundle, or failed to answer. The message says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineInfo:
    """What really runs. `reason` says why nothing faster does (None: this is the fastest or the one asked
    for).
    """

    engine: str
    """"onnxruntime" or "triton"."""
    provider: str
    """The execution provider in use, e.g. "CPUExecutionProvider"; for Triton, its platform."""
    device: str
    """"cpu", "cuda" or the address of the Triton server."""
    version: str
    """Version of the engine's library or server."""
    reason: str | None = None
    unused_gpu: bool = False
    """A GPU is present on this machine and not used."""


class Engine(Classifier, Protocol):
    """A `probes.classifier.Classifier` over NumPy arrays, safe to call from several threads."""

    def describe(self) -> EngineInfo:
        """What really runs."""

    def close(self) -> None:
        """Releases sessions and connections; calling the engine afterwards is an error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """Shapes that a bundle's graphs accept, to refuse anything else before an engine sees it."""

    channels: int
    height: int
    width: int
    classes: int

    @classmethod
    def of(cls, bundle: Bundle) -> Signature:
        """The signature of `bundle`."""
        spec = bundle.manifest.input
        return cls(
            channels=spec.channels,
            height=spec.height,
            width=spec.width,
            classes=len(bundle.manifest.classes),
        )

    def images(self, images: Any) -> Floats:
        """`images` as a contiguous array.

        Raises:
            ValueError: not float32[N, channels, height, width].
        """
        array = np.asarray(images)
        shape = (self.channels, self.height, self.width)
        if array.dtype != np.float32 or array.ndim != 4 or array.shape[1:] != shape:
            wanted = ", ".join(map(str, shape))
            raise ValueError(
                f"images are {array.dtype}{list(array.shape)}: this model takes float32[N, {wanted}]"
            )
        return np.ascontiguousarray(array)

    def numbers(self, name: str, values: Any, *, count: int, low: int, high: int) -> Integers:
        """`values` as int64[count].

        Raises:
            ValueError: not integers [count], or one outside low..high.
        """
        array = np.asarray(values)
        if array.shape != (count,) or array.dtype.kind not in "iu":
            raise ValueError(
                f"{name} is {array.dtype}{list(array.shape)}: give one integer for each of {count} images"
            )
        if count and not (low <= int(array.min()) and int(array.max()) <= high):
            raise ValueError(
                f"{name} holds {int(array.min())} to {int(array.max())}: accepted are {low} to {high}"
            )
        return array.astype(np.int64)

    def choices(
        self, labels: Any, targets: Any, losses: Any, *, count: int
    ) -> tuple[Integers, Integers, Integers]:
        """Labels, targets (-1: none) and losses as int64[count] each; raises ValueError as `numbers` does."""
        top = self.classes - 1
        return (
            self.numbers("labels", labels, count=count, low=0, high=top),
            self.numbers("targets", targets, count=count, low=UNTARGETED, high=top),
            self.numbers("losses", losses, count=count, low=min(Loss), high=max(Loss)),
        )
