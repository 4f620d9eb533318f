"""One probe, from uploaded bytes to the JSON report, without HTTP. Runs in a thread of the probe lane."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from probes.budget import Budget
from serving.classification import prepare
from serving.models import Model
from serving.probe_parameters import ProbeParameters


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeJob:
    """What to attack, how, and until when (`deadline`, on the monotonic clock)."""

    model: Model
    data: bytes
    parameters: ProbeParameters
    max_pixels: int
    deadline: float

    def run(
        self, *, cancelled: Callable[[], bool], progress: Callable[[Mapping[str, Any]], None] | None = None
    ) -> Mapping[str, Any]:
        """The report as JSON values. `progress` is called from this thread."""
        from probes.probe import probe

        image = prepare(self.data, self.model, max_pixels=self.max_pixels)
        budget = Budget(deadline=self.deadline, cancelled=cancelled)
        report = probe(self.model.engine, image, self.parameters.request, budget=budget)
        return {"model": self.model.identity} | report
