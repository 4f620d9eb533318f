"""What is told about the requests that a lane has no room for: counted, and logged at most once a second."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import TypeAlias

from prometheus_client import Counter

from serving.observing.request_log import LOGGER

REASONS = ("full", "wait", "slow", "uploads", "bytes", "caller")
"""Why: all places are taken, the wait would be too long, or it would be behind other large images; too many
bodies are on their way, they take too much memory, or one caller takes too much of either.
"""
EVERY_S = 1.0
_LOG = logging.getLogger(LOGGER)


Later: TypeAlias = Callable[[float, Callable[[], None]], object]


def _in_this_loop(seconds: float, action: Callable[[], None]) -> object:
    return asyncio.get_running_loop().call_later(seconds, action)


class RefusalLog:
    """Counts refusals. A line for each would cost as much as the refusal, when there is least to spare: the
    first is said at once, and those that follow within a second at its end. Used from one event loop.

    Args:
        lane: its name.
        shed: has the labels `lane` and `reason`.
        clock: seconds.
        later: does something in so many seconds.
    """

    def __init__(
        self,
        lane: str,
        shed: Counter,
        *,
        clock: Callable[[], float] = time.monotonic,
        later: Later = _in_this_loop,
    ) -> None:
        self._lane = lane
        self._counters = {reason: shed.labels(lane=lane, reason=reason) for reason in REASONS}
        self._clock = clock
        self._later = later
        self._unsaid = 0
        self._following = 0.0
        self._remembered = False

    def refused(self, reason: str) -> None:
        """Counts one; to be called with the reason, one of `REASONS`."""
        self._counters[reason].inc()
        self._unsaid += 1
        wait = self._following - self._clock()
        if wait <= 0:
            self.say()
        elif not self._remembered:
            self._remembered = True
            self._later(wait, self._say_rest)

    def say(self) -> None:
        """Says how many there were of which nothing has been said."""
        if self._unsaid:
            self._following = self._clock() + EVERY_S
            fields = {"lane": self._lane, "refused": self._unsaid}
            self._unsaid = 0
            _LOG.warning("overloaded", extra={"fields": fields})

    def _say_rest(self) -> None:
        self._remembered = False
        self.say()
