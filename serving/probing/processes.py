"""The processes that probe for one worker, each for one job at a time."""

from __future__ import annotations

import contextlib
import queue
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from export.bundle import Bundle
from serving.probing.job import OnProgress, ProbeJob
from serving.probing.process import ProbeProcess, process_ended
from serving.settings import Settings

_IDLE_S = 1.0


class ProbeProcesses:
    """As many processes as probes may run at the same time. Safe to use from as many threads."""

    def __init__(self, settings: Settings, *, count: int, on_end: Callable[[], None] = lambda: None) -> None:
        self.count = count
        self._closed = False
        self._everyone = [ProbeProcess(settings, on_end=on_end) for _ in range(count)]
        self._idle: queue.SimpleQueue[ProbeProcess] = queue.SimpleQueue()
        for process in self._everyone:
            self._idle.put(process)

    def load(self, bundle: Bundle) -> None:
        """Has all of them get a model ready, each once it is idle.

        Raises:
            Problem: as `ProbeProcess.load`.
        """
        # Whoever is done goes to the end of the queue.
        for _ in self._everyone:
            with self._one() as process:
                process.load(bundle)

    def forget(self, bundle: Bundle) -> None:
        """Has all of them release a model, each once it is idle."""
        for _ in self._everyone:
            with self._one() as process:
                process.forget(bundle)

    def run(
        self, job: ProbeJob, *, cancelled: Callable[[], bool], progress: OnProgress | None = None
    ) -> Mapping[str, Any]:
        """As `ProbeProcess.run`, in one that is idle; waits for one if there is none."""
        with self._one() as process:
            return process.run(job, cancelled=cancelled, progress=progress)

    def close(self) -> None:
        """Ends all processes at once and for good, whatever they do."""
        self._closed = True
        for process in self._everyone:
            process.stop()
        self._close_idle()

    @contextlib.contextmanager
    def _one(self) -> Iterator[ProbeProcess]:
        while True:
            with contextlib.suppress(queue.Empty):
                process = self._idle.get(timeout=_IDLE_S)
                break
            if self._closed:
                raise process_ended()
        try:
            yield process
        finally:
            self._idle.put(process)
            if self._closed:
                self._close_idle()

    def _close_idle(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                self._idle.get_nowait().close()
