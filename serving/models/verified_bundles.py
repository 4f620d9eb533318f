"""The bundles of a models folder, each verified once for as long as its files stay as they are."""

from __future__ import annotations

import logging
import math
import os
import threading
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from export.bundle import Bundle, BundleError, load_bundle, named_path
from serving.observing.request_log import LOGGER
from serving.problems import Problem

RETRY_S = 5.0
"""What did not work for another reason than the files themselves is left alone for so long."""
_LOG = logging.getLogger(LOGGER)
_Stamp: TypeAlias = frozenset[tuple[str, int, int, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a version is not served, and until when, on the monotonic clock, nobody needs to try again."""

    detail: str
    until: float = math.inf

    @property
    def lasts(self) -> bool:
        """Whether it is too early to try again."""
        return time.monotonic() < self.until

    def problem(self) -> Problem:
        """The answer to a request for the version."""
        wait = self.until - time.monotonic()
        headers = {"Retry-After": str(max(1, math.ceil(wait)))} if math.isfinite(wait) else None
        return Problem("model_unavailable", self.detail, headers=headers)


@dataclass(frozen=True, slots=True)
class _Verified:
    stamp: _Stamp
    outcome: Bundle | Refusal


class VerifiedBundles:
    """What verifying the `name/version` of one models folder gave. Safe to use from several threads.

    A damaged bundle stays refused until its files change: a copy under way becomes a bundle once it is whole.
    """

    def __init__(self, models_dir: Path) -> None:
        self._models_dir = models_dir
        self._known: dict[str, _Verified] = {}
        self._seen: dict[str, _Stamp] = {}
        self._lock = threading.Lock()

    def get(self, ref: str) -> Bundle:
        """The bundle `name/version`, verified now if its files are others than the last time.

        Raises:
            Problem: model_unavailable; the detail says what is wrong with which file.
        """
        with self._lock:
            stamp, known = self._stamp(ref), self._known.get(ref)
            if known is None or known.stamp != stamp or not _holds(known.outcome):
                known = self._known[ref] = _Verified(stamp, self._verify(ref))
        if isinstance(known.outcome, Refusal):
            raise known.outcome.problem()
        return known.outcome

    def at_rest(self, ref: str) -> bool:
        """Whether its files are as they were when this was last asked."""
        stamp = self._stamp(ref)
        before, self._seen[ref] = self._seen.get(ref), stamp
        return stamp == before

    def refused(self) -> Mapping[str, str]:
        """Why each version that is refused is."""
        return {
            ref: known.outcome.detail
            for ref, known in list(self._known.items())
            if isinstance(known.outcome, Refusal)
        }

    def forget_all_but(self, refs: Collection[str]) -> None:
        """Drops what is known about versions that are gone."""
        for known in (self._known, self._seen):
            for ref in set(known) - set(refs):
                known.pop(ref, None)

    def without_path(self, error: Exception, ref: str, folder: Path) -> str:
        """What an error about the version in `folder` says, for requests: absolute paths are nobody's
        business over HTTP, and the name of the file is enough to repair it.
        """
        said = str(error)
        # The longer one first: it may end with the other one.
        for path in sorted({str(named_path(folder)), str(folder.resolve())}, key=len, reverse=True):
            said = said.replace(path, ref)
        return said.replace(f"{self._models_dir.resolve()}/", "")

    def _verify(self, ref: str) -> Bundle | Refusal:
        folder = self._models_dir / ref
        try:
            return load_bundle(folder)
        except BundleError as error:
            refusal = Refusal(detail=self.without_path(error, ref, folder))
        except OSError as error:
            detail = self.without_path(error, ref, folder)
            refusal = Refusal(detail=detail, until=time.monotonic() + RETRY_S)
        log_refusal(ref, refusal.detail)
        return refusal

    def _stamp(self, ref: str) -> _Stamp:
        folder = self._models_dir / ref
        try:
            with os.scandir(folder) as entries:
                files = [_file_stamp(entry) for entry in entries]
            # Of the folder that a link leads to: it may lead to another disk, with files that look the same.
            status = folder.stat()
            return frozenset([*files, ("", status.st_ino, status.st_dev, 0)])
        except OSError:
            return frozenset()


def log_refusal(ref: str, reason: str) -> None:
    """Says that a version of a model is not served."""
    _LOG.warning("model version refused", extra={"fields": {"model": ref, "reason": reason}})


def _holds(outcome: Bundle | Refusal) -> bool:
    return not isinstance(outcome, Refusal) or outcome.lasts


def _file_stamp(entry: os.DirEntry[str]) -> tuple[str, int, int, int]:
    status = entry.stat(follow_symlinks=False)
    return entry.name, status.st_ino, status.st_size, status.st_mtime_ns
