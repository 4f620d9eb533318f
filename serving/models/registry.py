"""The models of one worker: loaded when they are first asked for, and followed when their folder changes."""

from __future__ import annotations

import logging
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TypeVar

from engines.engine import EngineError
from export.bundle import Bundle, BundleError, BundleRef
from serving.models.failures import Failures, bundle_ref
from serving.models.model import EngineLoader, Model, default_reference, warm_up
from serving.models.references import References
from serving.models.verified_bundles import VerifiedBundles
from serving.observing.request_log import LOGGER
from serving.problems import Problem
from serving.settings import Settings

T = TypeVar("T")
_LOG = logging.getLogger(LOGGER)


class ModelRegistry:
    """Keeps the most recently used models in memory. Safe to use from several threads.

    A name stands for its newest version that could be loaded when it was first asked for, and from then on
    for the version that `follow` chose last. An engine ends with the last request that uses it.
    """

    def __init__(self, settings: Settings, load_engine: EngineLoader) -> None:
        self._settings = settings
        self._load_engine = load_engine
        self._bundles = VerifiedBundles(settings.models_dir)
        self._models: OrderedDict[str, Model] = OrderedDict()
        self._current: dict[str, str] = {}
        self._asked_by_version: set[str] = set()
        # Apart: who asks for a version by its number gets one that only cannot be probed.
        self._not_starting, self._not_prepared = Failures(), Failures()
        self._references = References(settings)
        self._default = settings.default_model
        self._lock = threading.Lock()
        # Apart from `_lock`: what is in memory answers while an engine takes its time.
        self._loading = threading.Lock()

    def default_reference(self) -> str:
        """The model that answers when a request names none. It stays the same, whatever else is added.

        Raises:
            BundleNotFoundError: the folder holds no model, or several and no setting chooses.
        """
        if self._default is None:
            self._default = default_reference(self._settings)
        return self._default

    def get(self, reference: str | None) -> Model:
        """The model `name` or `name/version`, loaded and warmed up now if need be; the default one for None.

        Raises:
            Problem: model_not_found, or model_unavailable with the reason (a damaged bundle: which file).
        """
        with self._loading:
            if (model := self.loaded(reference)) is None:
                model = self._first(reference, self._load)
                self._publish(model, current="/" not in (reference or self.default_reference()))
            return model

    def loaded(self, reference: str | None) -> Model | None:
        """The model if it is in memory, without waiting for one that is being loaded; the default one for
        None.

        Raises:
            Problem: model_not_found.
        """
        ref = self._resolve(reference)
        with self._lock:
            if ref == reference:
                self._asked_by_version.add(ref)
            if (model := self._models.get(ref)) is not None:
                self._models.move_to_end(ref)
            return model

    def bundle(self, reference: str) -> Bundle:
        """The verified bundle, without an engine, and whether or not one starts.

        Raises:
            Problem: model_not_found or model_unavailable.
        """
        return self._first(reference, self._bundles.get)

    def references(self) -> list[BundleRef]:
        """Every bundle in the folder, verified or not."""
        return self._references.all()

    def in_memory(self) -> Mapping[str, Model]:
        """The loaded models by `name/version`."""
        with self._lock:
            return dict(self._models)

    def current(self) -> Mapping[str, str]:
        """The `name/version` that requests get that ask for `name`, for each name that somebody asked for."""
        with self._lock:
            return dict(self._current)

    def refused(self) -> Mapping[str, str]:
        """Why each `name/version` is not served that was tried in vain and has not changed since."""
        failed = {**self._not_prepared.details(), **self._not_starting.details()}
        return {**failed, **self._bundles.refused()}

    def follow(self, prepare: Callable[[Model], None] = lambda _: None) -> list[Model]:
        """Has each name that somebody asked for answered by its newest version that works: one that was
        added, or an older one when the one in use is gone. Call it again and again: files count once they
        have not changed from one call to the next.

        Args:
            prepare: gets ready what else a model needs before it answers; a Problem refuses the model.

        Returns:
            The models that have been replaced.
        """
        there = [f"{ref.name}/{ref.version}" for ref in self.references()]
        replaced = self._move(there, prepare)
        for name, current in self.current().items():
            versions = [ref for ref in reversed(there) if ref.startswith(f"{name}/")]
            if (model := self._successor(current, versions, prepare)) is not None:
                replaced += self._replace(current, model)
        self._forget_all_but(there)
        return replaced

    def close(self) -> None:
        """Releases every engine."""
        with self._lock:
            for model in self._models.values():
                model.engine.close()
            self._models.clear()

    def _move(self, there: Sequence[str], prepare: Callable[[Model], None]) -> list[Model]:
        """Has models whose files are gone look for them where a link leads now: who probes, or starts anew,
        needs them again.
        """
        moved = []
        for ref, old in self.in_memory().items():
            # Path.is_dir raises what a network's disk says of files that are gone (ESTALE).
            if ref in there and not os.path.isdir(old.bundle.path):  # noqa: PTH112
                with suppress(Problem):
                    bundle = self._bundles.get(ref)
                    if bundle.sha256 == old.bundle.sha256:
                        model = replace(old, bundle=bundle)
                        with self._lock:
                            if self._models.get(ref) is old:
                                self._models[ref] = model
                        moved.append(old)
                        self._prepare(model, prepare)
        return moved

    def _successor(
        self, current: str, versions: Sequence[str], prepare: Callable[[Model], None]
    ) -> Model | None:
        """The newest of `versions` (newest first) that works, unless `current` is as new."""
        for ref in versions:
            # Whatever happens to the files of the model in use, it is not replaced by an older one.
            if self._bundles.at_rest(ref):
                try:
                    bundle = self._bundles.get(ref)
                    self._not_prepared.check(bundle)
                    model = self.in_memory().get(ref)
                    if model is None or model.bundle.sha256 != bundle.sha256:
                        with self._loading:
                            model = self._load(ref)
                    elif ref == current:
                        return None
                    self._prepare(model, prepare)
                    return model
                except Problem:
                    # It has been logged, and `refused` says so.
                    pass
            if ref == current:
                return None
        return None

    def _prepare(self, model: Model, prepare: Callable[[Model], None]) -> None:
        try:
            prepare(model)
        except Problem as problem:
            raise self._fail(self._not_prepared, model.bundle, problem.detail) from problem

    def _replace(self, current: str, model: Model) -> list[Model]:
        ref = bundle_ref(model.bundle)
        old = self.in_memory().get(current)
        self._publish(model, current=True)
        with self._lock:
            # Those who ask for a version by its number go on having it.
            if ref != current and current not in self._asked_by_version:
                self._models.pop(current, None)
        _LOG.info("model taken up", extra={"fields": {"model": model.identity, "instead_of": current}})
        return [] if old is None else [old]

    def _publish(self, model: Model, *, current: bool) -> None:
        ref = bundle_ref(model.bundle)
        with self._lock:
            self._models[ref] = model
            self._models.move_to_end(ref)
            self._not_starting.forget(ref)
            if current:
                self._not_prepared.forget(ref)
                self._current[model.bundle.manifest.name] = ref
            default = self._default or ""
            keep = (ref, default, self._current.get(default))
            idle = [other for other in self._models if other not in keep]
            for other in idle[: max(0, len(self._models) - self._settings.max_loaded_models)]:
                self._drop(other)

    def _forget_all_but(self, there: Sequence[str]) -> None:
        for known in (self._bundles, self._not_starting, self._not_prepared):
            known.forget_all_but(there)
        self._references.forget()
        with self._lock:
            self._asked_by_version &= set(there)
            # The default model goes on answering when nothing is left that could.
            keep = {*there, self._default, self._current.get(self._default or "")}
            for ref in self._models.keys() - keep:
                self._drop(ref)

    def _drop(self, ref: str) -> None:
        del self._models[ref]
        self._asked_by_version.discard(ref)
        name = ref.partition("/")[0]
        if self._current.get(name) == ref:
            del self._current[name]

    def _load(self, ref: str) -> Model:
        bundle = self._bundles.get(ref)
        self._not_starting.check(bundle)
        try:
            engine = self._load_engine(bundle)
            model = Model(bundle=bundle, engine=engine, info=engine.describe())
            warm_up(model, with_gradient=False)
        except EngineError as error:
            detail = self._bundles.without_path(error, ref, bundle.path)
            raise self._fail(self._not_starting, bundle, detail) from error
        return model

    def _fail(self, failures: Failures, bundle: Bundle, detail: str) -> Problem:
        return failures.note(bundle, detail, replaceable=bundle.manifest.name in self._current)

    def _first(self, reference: str | None, attempt: Callable[[str], T]) -> T:
        """What `attempt` makes of the version that a reference stands for: for a name that nobody has asked
        for yet, of the newest one that it does not fail with.
        """
        newest = self._resolve(reference)
        name = reference or self.default_reference()
        refs = [newest]
        if "/" not in name and name not in self._current:
            refs += [f"{ref.name}/{ref.version}" for ref in reversed(self.references()) if ref.name == name]
        first: Problem | None = None
        for ref in dict.fromkeys(refs):
            try:
                return attempt(ref)
            except Problem as problem:
                first = first or problem
        assert first is not None
        raise first

    def _resolve(self, reference: str | None) -> str:
        """`name/version` of a reference."""
        asked = reference or self._default or ""
        if (current := self._current.get(asked)) is not None:
            return current
        if asked == self._default and asked in self._models:
            return asked
        try:
            return self._references.find(reference or self.default_reference())
        except BundleError as error:
            raise self._references.not_found("no model is chosen") from error
