"""A model that is ready to answer: a verified bundle with its engine; and which one is the default."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from engines.engine import Engine, EngineInfo
from export.bundle import MANIFEST, Bundle, BundleError, BundleNotFoundError, BundleRef, list_bundles
from export.manifest import parse_manifest
from serving.models.pace import Pace
from serving.settings import Settings

EngineLoader = Callable[[Bundle], Engine]


@dataclass(frozen=True, slots=True, weakref_slot=True, kw_only=True)
class Model:
    """A verified bundle and the engine that runs it."""

    bundle: Bundle
    engine: Engine
    info: EngineInfo
    pace: Pace = field(default_factory=Pace)

    @property
    def classes(self) -> tuple[str, ...]:
        """Labels by index."""
        return self.bundle.manifest.classes

    @property
    def is_local(self) -> bool:
        """Whether it is computed on this machine, rather than by another server."""
        return self.info.engine == "onnxruntime"

    @property
    def is_on_cpu(self) -> bool:
        """Whether it is computed by this machine's processor."""
        return self.is_local and self.info.device == "cpu"

    @property
    def identity(self) -> dict[str, str]:
        """Name, version and sha256: what every answer says about its model."""
        return identity_of(self.bundle)


def identity_of(bundle: Bundle) -> dict[str, str]:
    """Name, version and sha256 of a bundle."""
    manifest = bundle.manifest
    return {"name": manifest.name, "version": manifest.version, "sha256": bundle.sha256}


def default_reference(settings: Settings) -> str:
    """The default model's name: the setting, the only model there is, or the only one among them whose newest
    version was trained to withstand perturbations.

    Raises:
        BundleNotFoundError: there is none, or there are several and the setting is empty.
    """
    if settings.default_model is not None:
        return settings.default_model
    newest = {ref.name: ref for ref in list_bundles(settings.models_dir)}
    names = sorted(newest)
    for candidates in (names, [name for name in names if _is_robust(newest[name])]):
        if len(candidates) == 1:
            return candidates[0]
    if not names:
        raise BundleNotFoundError(
            f"{settings.models_dir} holds no model: export one, or set CLEAD_MODELS_DIR"
        )
    raise BundleNotFoundError(
        f"{settings.models_dir} holds {', '.join(names)}: set CLEAD_DEFAULT_MODEL to one of them"
    )


def _is_robust(ref: BundleRef) -> bool:
    # One that cannot be read is not served: it is no reason to choose nothing.
    try:
        return parse_manifest((ref.path / MANIFEST).read_bytes()).threat is not None
    except (BundleError, OSError):
        return False


def warm_up(model: Model, *, with_gradient: bool) -> None:
    """One pass through each graph that will be used, so that the first request does not pay for it.

    Raises:
        EngineError: the engine does not answer.
    """
    spec = model.bundle.manifest.input
    images: NDArray[np.float32] = np.full((1, spec.channels, spec.height, spec.width), 0.5, np.float32)
    zero = np.zeros(1, np.int64)
    model.engine.logits(images)
    if with_gradient:
        model.engine.gradient(images, zero, zero - 1, zero)
