"""What `name` and `name/version` stand for in the models folder, for requests that come by the thousand."""

from __future__ import annotations

import time

from export.bundle import BundleError, BundleRef, find_bundle, list_bundles
from serving.problems import Problem
from serving.settings import Settings

RESOLVED_FOR_S = 1.0
LISTED_FOR_S = 2.0
"""Who follows the folder lists it more often, apart from the event loop."""


class References:
    """The models folder, of which no request makes one look at more than at the name that it asks for. Safe
    to use from several threads.
    """

    def __init__(self, settings: Settings) -> None:
        self._models_dir = settings.models_dir
        self._found: dict[str, tuple[float, str]] = {}
        self._listed: tuple[float, list[BundleRef]] = (0.0, [])

    def all(self) -> list[BundleRef]:
        """Every bundle in the folder now, verified or not."""
        try:
            refs = list_bundles(self._models_dir)
        except BundleError:
            refs = []
        self._listed = (time.monotonic() + LISTED_FOR_S, refs)
        return refs

    def find(self, reference: str) -> str:
        """`name/version` that `name`, or itself, stands for; one that was found holds for a second, one that
        was not may be there the next time.

        Raises:
            Problem: model_not_found.
        """
        now = time.monotonic()
        until, ref = self._found.get(reference, (0.0, ""))
        if now >= until:
            if (found := find_bundle(self._models_dir, reference)) is None:
                raise self.not_found(f"there is no model {reference[:80]!r}")
            ref = f"{found.name}/{found.version}"
            # Only names that exist are remembered, so there are never many.
            self._found[reference] = (now + RESOLVED_FOR_S, ref)
        return ref

    def not_found(self, wanted: str) -> Problem:
        """The answer to a request for a model that is not there."""
        until, refs = self._listed
        refs = refs if time.monotonic() < until else self.all()
        there = ", ".join(f"{ref.name}/{ref.version}" for ref in refs) or "none"
        return Problem("model_not_found", f"{wanted}; accepted are: {there}")

    def forget(self) -> None:
        """Has every name looked up again."""
        self._found.clear()
