"""What the log says about a full lane: how many it has refused, at most once a second."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from serving.observing.request_log import LOGGER

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
