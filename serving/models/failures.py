"""Versions of models that did not work, each left alone for a while."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from export.bundle import Bundle
from serving.models.verified_bundles import RETRY_S, Refusal, log_refusal
from serving.problems import Problem

MOST_RETRY_S = 300.0
"""What fails is tried again after `RETRY_S`. Where another version answers meanwhile, the time doubles with
each trial until it is this long."""


@dataclass(frozen=True, slots=True)
class _Failure:
    sha256: str
    waited_s: float
    refusal: Refusal


@dataclass(frozen=True, slots=True)
class Failures:
    """What one step on the way to an answer failed with, by `name/version`. Used from several threads."""

    _known: dict[str, _Failure] = field(default_factory=dict)

    def check(self, bundle: Bundle) -> None:
        """Raises the Problem that the bundle failed with, while it is too early to try again."""
        known = self._known.get(bundle_ref(bundle))
        if known is not None and known.refusal.lasts and known.sha256 == bundle.sha256:
            raise known.refusal.problem()

    def note(self, bundle: Bundle, detail: str, *, replaceable: bool) -> Problem:
        """Remembers a failure, and gives the Problem to raise.

        Args:
            replaceable: whether another version answers meanwhile.
        """
        ref = bundle_ref(bundle)
        known = self._known.get(ref)
        again = known is not None and known.sha256 == bundle.sha256 and replaceable
        wait_s = min(MOST_RETRY_S, 2 * known.waited_s) if known is not None and again else RETRY_S
        refusal = Refusal(detail=detail, until=time.monotonic() + wait_s)
        self._known[ref] = _Failure(bundle.sha256, wait_s, refusal)
        log_refusal(ref, detail)
        return refusal.problem()

    def details(self) -> Mapping[str, str]:
        """Why each version is refused."""
        return {ref: known.refusal.detail for ref, known in list(self._known.items())}

    def forget(self, ref: str) -> None:
        """It works after all."""
        self._known.pop(ref, None)

    def forget_all_but(self, refs: Collection[str]) -> None:
        """Drops what is known about versions that are gone."""
        for ref in set(self._known) - set(refs):
            self.forget(ref)


def bundle_ref(bundle: Bundle) -> str:
    """`name/version`."""
    return f"{bundle.manifest.name}/{bundle.manifest.version}"
