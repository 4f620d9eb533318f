"""What an attack may spend, and what it has spent."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(slots=True)
class Budget:
    """Counts evaluations (one image through one pass each) and knows when to stop.

    `deadline` is a point on `clock`, in seconds. `cancelled` is asked before every step, so an abandoned
    attack stops within one step. A budget without either never stops an attack.
    """

    deadline: float | None = None
    cancelled: Callable[[], bool] | None = None
    clock: Callable[[], float] = time.monotonic
    gradient_evaluations: int = 0
    forward_evaluations: int = 0
    exhausted: bool = field(default=False)

    def stop(self) -> bool:
        """Whether to stop now; once true, it stays true and `exhausted` says so."""
        if not self.exhausted:
            late = self.deadline is not None and self.clock() >= self.deadline
            self.exhausted = late or (self.cancelled is not None and self.cancelled())
        return self.exhausted
