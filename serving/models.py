"""The models of one worker: found in the models folder, verified, loaded once, ready to answer."""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engines.engine import Engine, EngineError, EngineInfo
from export.bundle import (
    Bundle,
    BundleError,
    BundleNotFoundError,
    BundleRef,
    list_bundles,
    load_bundle,
    resolve_bundle,
)
from serving.problems import Problem
from serving.settings import Settings

RESOLVED_FOR_S = 1.0
RETRY_S = 5.0
"""An engine that did not start is left alone for so long, however many requests ask for it."""
EngineLoader = Callable[[Bundle], Engine]


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A verified bundle and the engine that runs it."""

    bundle: Bundle
    engine: Engine
    info: EngineInfo

    @property
    def classes(self) -> tuple[str, ...]:
        """Labels by index."""
        return self.bundle.manifest.classes

    @property
    def identity(self) -> dict[str, str]:
        """Name, version and sha256: what every answer says about its model."""
        return identity_of(self.bundle)


def identity_of(bundle: Bundle) -> dict[str, str]:
    """Name, version and sha256 of a bundle."""
    manifest = bundle.manifest
    return {"name": manifest.name, "version": manifest.version, "sha256": bundle.sha256}


class ModelRegistry:
    """Loads models when they are first asked for and keeps the most recent ones. Safe to use from several
    threads.

    A bundle never changes once it is written, so what was verified stays verified, and a damaged one stays
    refused until the server starts again. An engine that does not start, or a disk that does not answer, is
    tried again after `RETRY_S`.
    """

    def __init__(self, settings: Settings, load_engine: EngineLoader) -> None:
        self._settings = settings
        self._load_engine = load_engine
        self._models: OrderedDict[str, Model] = OrderedDict()
        self._bundles: dict[str, Bundle] = {}
        self._refused: dict[str, _Refusal] = {}
        self._resolved: dict[str, tuple[float, str]] = {}
        self._lock = threading.Lock()
        self._loading = threading.Lock()
        # Apart from `_loading`: what is known about the models is answered while an engine takes its time.
        self._verifying = threading.Lock()

    def default_reference(self) -> str:
        """The model that answers when a request names none.

        Raises:
            BundleNotFoundError: the folder holds no model, or several and no setting chooses.
        """
        return default_reference(self._settings)

    def get(self, reference: str | None) -> Model:
        """The model `name` or `name/version`, loaded now if need be; the default one for None.

        Raises:
            Problem: model_not_found, or model_unavailable with the reason (a damaged bundle: which file).
        """
        ref = self._resolve(reference)
        with self._loading:
            if (model := self._recent(ref)) is not None:
                return model
            self._check_refused(ref)
            bundle = self.bundle(ref)
            try:
                engine = self._load_engine(bundle)
            except EngineError as error:
                raise self._refuse(ref, error, lasts_s=RETRY_S) from error
            model = Model(bundle=bundle, engine=engine, info=engine.describe())
            with self._lock:
                self._models[ref] = model
                self._make_room(keep=(ref, self._resolve(None)))
            return model

    def loaded(self, reference: str | None) -> Model | None:
        """The model if it is in memory, without waiting for one that is being loaded; the default one for
        None.

        Raises:
            Problem: model_not_found.
        """
        return self._recent(self._resolve(reference))

    def bundle(self, reference: str) -> Bundle:
        """The verified bundle, without an engine, and whether or not one starts.

        Raises:
            Problem: model_not_found or model_unavailable.
        """
        ref = self._resolve(reference)
        with self._verifying:
            if ref not in self._bundles:
                self._check_refused(ref)
                try:
                    self._bundles[ref] = load_bundle(resolve_bundle(self._settings.models_dir, ref))
                except BundleError as error:
                    raise self._refuse(ref, error, lasts_s=math.inf) from error
                except OSError as error:
                    raise self._refuse(ref, error, lasts_s=RETRY_S) from error
            return self._bundles[ref]

    def references(self) -> list[BundleRef]:
        """Every bundle in the folder, verified or not."""
        try:
            return list_bundles(self._settings.models_dir)
        except BundleError:
            return []

    def in_memory(self) -> Mapping[str, Model]:
        """The loaded models by `name/version`."""
        with self._lock:
            return dict(self._models)

    def close(self) -> None:
        """Releases every engine."""
        with self._lock:
            for model in self._models.values():
                model.engine.close()
            self._models.clear()

    def _make_room(self, keep: tuple[str, ...]) -> None:
        idle = [ref for ref in self._models if ref not in keep]
        for ref in idle[: max(0, len(self._models) - self._settings.max_loaded_models)]:
            del self._models[ref]

    def _recent(self, ref: str) -> Model | None:
        with self._lock:
            if (model := self._models.get(ref)) is not None:
                self._models.move_to_end(ref)
            return model

    def _resolve(self, reference: str | None) -> str:
        """`name/version` of a reference, looked up in the folder at most once a second."""
        asked, now = reference or "", time.monotonic()
        until, ref = self._resolved.get(asked, (0.0, ""))
        if now >= until:
            ref = self._look_up(reference)
            # Only names that exist are remembered, so there are never many.
            self._resolved[asked] = (now + RESOLVED_FOR_S, ref)
        return ref

    def _look_up(self, reference: str | None) -> str:
        try:
            path = resolve_bundle(self._settings.models_dir, reference or self.default_reference())
        except BundleError as error:
            there = ", ".join(f"{ref.name}/{ref.version}" for ref in self.references()) or "none"
            wanted = "no model is chosen" if reference is None else f"there is no model {reference[:80]!r}"
            raise Problem("model_not_found", f"{wanted}; accepted are: {there}") from error
        return f"{path.parent.name}/{path.name}"

    def _check_refused(self, ref: str) -> None:
        refusal = self._refused.get(ref)
        if refusal is not None and time.monotonic() < refusal.until:
            raise refusal.problem()

    def _refuse(self, ref: str, error: Exception, *, lasts_s: float) -> Problem:
        # Absolute paths are nobody's business over HTTP; the name of the file is enough to repair it.
        detail = str(error).replace(f"{self._settings.models_dir.resolve()}/", "")
        self._refused[ref] = _Refusal(detail=detail, until=time.monotonic() + lasts_s)
        return self._refused[ref].problem()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Refusal:
    """Why a model cannot be loaded, and until when nobody needs to try again (inf: not before a restart)."""

    detail: str
    until: float

    def problem(self) -> Problem:
        """The answer to a request for the model."""
        wait = self.until - time.monotonic()
        headers = {"Retry-After": str(max(1, math.ceil(wait)))} if math.isfinite(wait) else None
        return Problem("model_unavailable", self.detail, headers=headers)


def default_reference(settings: Settings) -> str:
    """The default model's name: the setting, or the only model there is.

    Raises:
        BundleNotFoundError: there is none, or there are several and the setting is empty.
    """
    if settings.default_model is not None:
        return settings.default_model
    names = sorted({ref.name for ref in list_bundles(settings.models_dir)})
    if len(names) == 1:
        return names[0]
    if not names:
        raise BundleNotFoundError(
            f"{settings.models_dir} holds no model: export one, or set CLEAD_MODELS_DIR"
        )
    raise BundleNotFoundError(
        f"{settings.models_dir} holds {', '.join(names)}: set CLEAD_DEFAULT_MODEL to one of them"
    )


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
