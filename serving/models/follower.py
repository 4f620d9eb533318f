"""Following the models folder, also for the processes that probe."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable

from export.bundle import Bundle
from serving.models.model import Model
from serving.models.registry import ModelRegistry
from serving.observing.request_log import LOGGER


class Follower:
    """Has models taken up and released, everywhere in a worker, as their files come and go.

    Args:
        load: gets a model ready elsewhere before it answers; a Problem refuses the model.
        forget: releases it there.
        show: called after each look.
    """

    def __init__(
        self,
        registry: ModelRegistry,
        *,
        load: Callable[[Model], None],
        forget: Callable[[Bundle], None],
        show: Callable[[], None],
    ) -> None:
        self._registry = registry
        self._load, self._forget, self._show = load, forget, show
        self._leaving: list[tuple[weakref.ref[Model], Bundle]] = []

    def look(self) -> None:
        """Looks at the folder, as `ModelRegistry.follow`; to be called again and again."""
        try:
            self._leaving += [
                (weakref.ref(model), model.bundle) for model in self._registry.follow(self._load)
            ]
            self._forget_unused()
            self._show()
        # A mistake of ours must not end the looking, nor the server that goes on as before.
        except Exception:
            logging.getLogger(LOGGER).exception("the models folder cannot be followed")

    def _forget_unused(self) -> None:
        # A probe that was given the model before it was replaced may still wait for its turn, and the files
        # may be gone.
        unused = [bundle for model, bundle in self._leaving if model() is None]
        self._leaving = [(model, bundle) for model, bundle in self._leaving if model() is not None]
        in_use = [model.bundle for model in self._registry.in_memory().values()]
        for bundle in unused:
            # It may be back.
            if bundle not in in_use:
                self._forget(bundle)
