"""The processes that probe for one worker, each one image at a time."""

from __future__ import annotations

import contextlib
import queue
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from export.bundle import Bundle
from serving.probing.job import OnProgress, ProbeJob
from serving.probing.process import OnBegin, ProbeProcess, process_ended
from serving.settings import Settings

_IDLE_S = 1.0


class ProbeProcesses:
    """As many processes as probes may run at the same time. As many threads may `run` them."""

    def __init__(self, settings: Settings, *, count: int, on_end: Callable[[], None] = lambda: None) -> None:
        self.count = count
        self._closed = False
        self._everyone = [ProbeProcess(settings, on_end=on_end) for _ in range(count)]
        self._idle: queue.SimpleQueue[ProbeProcess] = queue.SimpleQueue()
        for process in self._everyone:
            self._idle.put(process)

    def load(self, bundle: Bundle) -> None:
        """Has all of them get a model ready, also those that probe meanwhile. For one thread at a time, which
        may `forget` as well.

        Raises:
            Problem: as `ProbeProcess.load`.
        """
        for process in self._everyone:
            process.load(bundle)

    def forget(self, bundle: Bundle) -> None:
        """Has all of them release a model."""
        for process in self._everyone:
            process.forget(bundle)

    def run(
        self,
        job: ProbeJob,
        *,
        cancelled: Callable[[], bool],
        progress: OnProgress | None = None,
        on_begin: OnBegin = lambda _: None,
    ) -> Mapping[str, Any]:
        """As `ProbeProcess.run`, in one that is idle; waits for one if there is none."""
        with self._one() as process:
            return process.run(job, cancelled=cancelled, progress=progress, on_begin=on_begin)

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
