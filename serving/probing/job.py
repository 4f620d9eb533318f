"""One probe, from uploaded bytes to the JSON report, without HTTP. Runs in a thread of the probe lane."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from probes.budget import Budget
from probes.probe import probe
from probes.request import ProbeError, ProbeRequest
from serving.classifying.classification import prepare
from serving.models.model import Model
from serving.parameters import invalid
from serving.probing.parameters import PROBE_PARAMETERS
from serving.problems import Problem
from serving.uploads.png import png_data_url

OnProgress = Callable[[Mapping[str, Any]], None]
NOTE = "Made by a robustness probe: adversarial, or the difference it makes. Not a photograph."


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeJob:
    """What to attack, how, and until when (`deadline`, on the monotonic clock)."""

    model: Model
    data: bytes
    request: ProbeRequest
    max_pixels: int
    deadline: float

    def run(self, *, cancelled: Callable[[], bool], progress: OnProgress | None = None) -> dict[str, Any]:
        """The report as JSON values. `progress` is called from this thread, after every step.

        Raises:
            Problem: the image cannot be decoded, the label or target does not suit the model, or
                engine_failed: the model's logits cannot be probed.
            EngineError: the engine does not answer.
        """
        threat = self.model.bundle.manifest.threat
        image = prepare(self.data, self.model, max_pixels=self.max_pixels)
        try:
            report = probe(
                self.model.engine,
                image,
                self.request,
                trained_eps=threat.eps if threat and threat.norm == self.request.norm else None,
                budget=Budget(deadline=self.deadline, cancelled=cancelled),
                progress=None if progress is None else lambda state: progress(asdict(state)),
            )
        except ProbeError as error:
            # "model" is a parameter too, but here it says that the model itself gives no usable answer.
            if error.field in PROBE_PARAMETERS and error.field != "model":
                raise invalid(error.field, str(error)) from error
            raise Problem("engine_failed", str(error)) from error
        goal = {"label": self._named(self.request.label), "target": self._named(self.request.target)}
        return {"model": self.model.identity, "goal": goal} | report.to_dict(
            classes=self.model.classes, encode=partial(png_data_url, note=NOTE)
        )

    def _named(self, index: int | None) -> str | None:
        return None if index is None else self.model.classes[index]
