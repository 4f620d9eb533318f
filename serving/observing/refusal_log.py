"""What is told about the requests that a lane has no room for: counted, and logged at most once a second."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from prometheus_client import Counter

from serving.observing.request_log import LOGGER

REASONS = ("full", "wait", "slow", "uploads", "bytes", "caller")
"""Why: all places are taken, the wait would be too long, or it would be behind other large images; too many
bodies are on their way, they take too much memory, or one caller takes too much of either.
"""
EVERY_S = 1.0
_LOG = logging.getLogger(LOGGER)


class RefusalLog:
    """Counts refusals. A line for each would cost as much as the refusal, when there is least to spare.

    Args:
        lane: its name.
        clock: seconds.
    """

    def __init__(self, lane: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._lane = lane
        self._clock = clock
        self._refused = 0
        self._following = 0.0

    def refused(self) -> None:
        """Counts one, and says how many there were if nothing has been said for a second."""
        self._refused += 1
        now = self._clock()
        if now >= self._following:
            self._following = now + EVERY_S
            fields = {"lane": self._lane, "refused": self._refused}
            self._refused = 0
            _LOG.warning("overloaded", extra={"fields": fields})


def counted_refusals(lane: str, shed: Counter) -> Callable[[str], None]:
    """What is to be called with the reason, one of `REASONS`, whenever a request for the lane is refused.

    Args:
        shed: has the labels `lane` and `reason`.
    """
    log = RefusalLog(lane)
    counters = {reason: shed.labels(lane=lane, reason=reason) for reason in REASONS}

    def refused(reason: str) -> None:
        counters[reason].inc()
        log.refused()

    return refused
