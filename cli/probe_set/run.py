"""The run: one probe after the other, until all are done or somebody stops it."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any

from cli.probe_set.files import Failure, ImageFile, unreadable_file
from cli.probe_set.result import Pictures, Probed
from engines.engine import EngineError
from probes.request import ProbeRequest
from serving.classifying.classification import prepare
from serving.models.model import Model
from serving.probing.job import ProbeJob
from serving.problems import Problem
from serving.uploads.images import settle_warnings
from serving.uploads.png import png_data_url

Stop = Callable[[], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class SetJob:
    """How every image of a set is probed.

    Attributes:
        labels: index of the true class by path; without one the probe is about the prediction, or about the
            label of `request`.
        deadline_s: for each image.
    """

    model: Model
    request: ProbeRequest
    labels: Mapping[Path, int]
    max_pixels: int
    deadline_s: float

    def run(
        self, images: Iterable[ImageFile], *, stop: Stop, begin: Callable[[str], None]
    ) -> Iterator[Probed | Failure]:
        """Yields what each image gave. An image whose attack was cut short by `stop` yields nothing.

        Args:
            begin: called with the name of each image before it is probed.

        Raises:
            Problem: invalid_parameter: no image of this model can be probed like this.
        """
        settle_warnings()
        for image in images:
            if stop():
                return
            begin(image.name)
            outcome = self._probe(image, stop)
            if not stop():
                yield outcome

    def _probe(self, image: ImageFile, stop: Stop) -> Probed | Failure:
        label = self.labels.get(image.path, self.request.label)
        try:
            data = image.path.read_bytes()
            if not data:
                return Failure(name=image.name, code="empty", reason="the file is empty")
            report = ProbeJob(
                model=self.model,
                data=data,
                request=replace(self.request, label=label),
                max_pixels=self.max_pixels,
                deadline=time.monotonic() + self.deadline_s,
            ).run(cancelled=stop)
            pictures = self._pictures(data, report) if self.request.include else None
        except Problem as problem:
            if problem.code == "invalid_parameter":
                raise
            return Failure(name=image.name, code=problem.code, reason=problem.detail)
        except EngineError as error:
            return Failure(name=image.name, code="engine_failed", reason=str(error))
        except OSError as error:
            return unreadable_file(image.path, error)
        return Probed(
            name=image.name,
            label=None if label is None else self.model.classes[label],
            report={name: value for name, value in report.items() if name != "images"},
            pictures=pictures,
        )

    def _pictures(self, data: bytes, report: Mapping[str, Any]) -> Pictures:
        images = report["images"]
        return Pictures(
            clean=png_data_url(prepare(data, self.model, max_pixels=self.max_pixels)),
            adversarial=images["adversarial"],
            difference=images["difference"],
            answer=images["label"],
        )


@contextmanager
def stopped_by_signals() -> Iterator[Stop]:
    """Whether somebody pressed Ctrl-C or asked the process to end. The second time ends it at once."""
    asked = threading.Event()
    before: dict[signal.Signals, Any] = {}

    def restore() -> None:
        for name, handler in before.items():
            signal.signal(name, handler)

    def handle(number: int, frame: FrameType | None) -> None:
        asked.set()
        restore()

    for name in (signal.SIGINT, signal.SIGTERM):
        before[name] = signal.signal(name, handle)
    try:
        yield asked.is_set
    finally:
        restore()
