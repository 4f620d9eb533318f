"""What can wait for a moment: counting an answer, logging it. Between two requests the processor forgets how
that goes, and what is done for many at once takes less time for each.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from serving.observing.request_log import LOGGER

WAIT_S = 0.05
MOST_CALLS = 64
"""No more are made at once: they keep the event loop from everything else."""


class Later:
    """Calls that are made soon, in order: within WAIT_S, or once there are MOST_CALLS. For one event loop."""

    def __init__(self) -> None:
        self._calls: list[tuple[Callable[..., object], tuple[object, ...]]] = []
        self._timer = self._closed = False

    def __call__(self, function: Callable[..., object], *arguments: object) -> None:
        """Has `function(*arguments)` called."""
        self._calls.append((function, arguments))
        if self._closed or len(self._calls) >= MOST_CALLS:
            self.flush()
        elif not self._timer:
            asyncio.get_running_loop().call_later(WAIT_S, self._in_time)
            self._timer = True

    def flush(self) -> None:
        """Makes all calls now. One that fails is logged, and keeps no other from being made."""
        calls, self._calls = self._calls, []
        for function, arguments in calls:
            try:
                function(*arguments)
            except Exception:
                logging.getLogger(LOGGER).exception("what was put off has failed")

    def close(self) -> None:
        """Makes all calls now, and every further one at once: the loop is about to end."""
        self._closed = True
        self.flush()

    def _in_time(self) -> None:
        self._timer = False
        self.flush()
