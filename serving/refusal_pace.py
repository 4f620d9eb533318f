"""When a refusal is told: at once, unless telling so many would keep the server from its work."""

from __future__ import annotations

import time
from collections.abc import Callable

AT_ONCE = 100
"""Refusals that are told at once, in a second and by one worker."""
HOLD_S = 0.5
"""How long the others are held back. To refuse a client that asks again at once costs nearly as much as to
classify a small image; one that is held back asks less often."""


class RefusalPace:
    """Counts the refusals of each second.

    Args:
        clock: seconds.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since = -1.0
        self._refused = 0

    def hold_s(self) -> float:
        """Seconds that one more refusal is to be held back."""
        now = self._clock()
        if not 0 <= now - self._since < 1:
            self._since, self._refused = now, 0
        self._refused += 1
        return HOLD_S if self._refused > AT_ONCE else 0.0
