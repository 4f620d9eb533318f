"""A worker's side of a process that probes for it: starts it when it is needed, and replaces it."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from engines.engine import EngineError
from export.bundle import Bundle
from serving.observing.request_log import LOGGER
from serving.probing.job import OnProgress, ProbeJob
from serving.probing.running_process import RunningProcess
from serving.problems import Problem
from serving.settings import Settings

POLL_S = 0.02
"""How long a cancelled probe may go on unnoticed."""
GRACE_S = 10.0
"""What a probe may take beyond its deadline, to finish the step it is in and to confirm what it found."""
KILL_S = 10.0
"""A process that has not ended its step so long after it was told to is killed."""
LOAD_S = 600.0
"""One that has not got a model ready by then is killed."""
OnBegin = Callable[[float], None]
_LOG = logging.getLogger(LOGGER)


class MistakeError(RuntimeError):
    """The process made a mistake, and lives."""


class ProbeProcess:
    """One process, started when it is first needed. One thread at a time may `run`, and another one `load`
    and `forget`: a model is got ready while a probe goes on.

    Args:
        on_end: called when a process had to be replaced.
    """

    def __init__(self, settings: Settings, *, on_end: Callable[[], None] = lambda: None) -> None:
        self._settings = settings
        self._on_end = on_end
        self._running: RunningProcess | None = None
        self._starting = threading.Lock()
        self._stopped = False

    @property
    def pid(self) -> int | None:
        """Of the process; None while there is none."""
        running = self._running
        return None if running is None else running.pid

    def load(self, bundle: Bundle) -> None:
        """Has it get a model ready.

        Raises:
            Problem: model_unavailable: it cannot be used; engine_failed: the process did not get that far.
        """
        try:
            with self._sent({"kind": "load", **_named(bundle)}, limit=LOAD_S) as running:
                until = time.monotonic() + LOAD_S
                while (answer := running.answer("load", timeout=POLL_S)) is None:
                    _check_time(until)
                _raise_what_is_wrong(answer)
        except (EngineError, MistakeError) as error:
            raise Problem("engine_failed", str(error)) from error

    def forget(self, bundle: Bundle) -> None:
        """Has it release a model, if it has one."""
        if (running := self._running) is not None:
            with contextlib.suppress(OSError):
                running.send({"kind": "forget", **_named(bundle)}, limit=LOAD_S)

    def run(
        self,
        job: ProbeJob,
        *,
        cancelled: Callable[[], bool],
        progress: OnProgress | None = None,
        on_begin: OnBegin = lambda _: None,
    ) -> Mapping[str, Any]:
        """The report of `job`, as `ProbeJob.run`.

        Args:
            on_begin: told the job's deadline once it can compute: later by what the process needed to start,
                and to get the model ready.

        Raises:
            Problem: as `ProbeJob.run`; model_unavailable; engine_failed also when the process has ended, or
                did not stop when it was told to.
            EngineError: the engine does not answer.
            MistakeError: a mistake of ours, which the process has logged.
        """
        head = {
            "kind": "probe",
            **_named(job.model.bundle),
            "request": job.request.to_dict(),
            "max_pixels": job.max_pixels,
            "deadline": job.deadline,
            "since": time.monotonic(),
        }
        with self._sent(head, job.data, limit=_limit(job.deadline)) as running:
            return self._report(running, job.deadline, cancelled, progress, on_begin)

    def stop(self) -> None:
        """Ends the process for good, whatever it does; for any thread."""
        self._stopped = True
        if (running := self._running) is not None:
            running.kill()

    def close(self) -> None:
        """Ends the process at once; the next job starts another, unless it was stopped."""
        running, self._running = self._running, None
        if running is not None:
            running.end()

    @contextlib.contextmanager
    def _sent(self, head: Mapping[str, Any], body: bytes = b"", *, limit: float) -> Iterator[RunningProcess]:
        """Sends a message, for its answer to be read: to another process where this one died while idle,
        which is not the message's fault. One that does not do what it should is replaced.
        """
        running: RunningProcess | None = None
        try:
            running = self._started()
            try:
                running.send(head, body, limit=limit)
            except BrokenPipeError:
                self._discard(running)
                running = self._started()
                running.send(head, body, limit=limit)
            yield running
        except (Problem, EngineError, MistakeError):
            raise
        except (OSError, EOFError) as error:
            self._discard(running)
            raise process_ended() from error
        # Whatever it was: an answer that nobody has read would be taken for that to the next message.
        except BaseException:
            self._discard(running)
            raise

    def _started(self) -> RunningProcess:
        if (idle := self._running) is not None and idle.exit_code is not None:
            self._discard(idle)
        with self._starting:
            if self._running is None:
                running = self._running = RunningProcess(self._settings)
                # Whoever stops everything may have looked before there was anything to be stopped.
                if self._stopped:
                    self.close()
                    raise OSError("the server is stopping")
                return running
            return self._running

    def _discard(self, running: RunningProcess | None) -> None:
        """Ends a process that did not do what it should, or has died, and says so, once."""
        if running is None:
            return
        died = running.exit_code
        with self._starting:
            first = self._running is running
            if first:
                self._running = None
        running.end()
        if first and not self._stopped:
            fields = {"pid": running.pid, "exit_code": running.exit_code if died is None else died}
            _LOG.warning("a process that probes is replaced", extra={"fields": fields})
            self._on_end()

    def _report(
        self,
        running: RunningProcess,
        deadline: float,
        cancelled: Callable[[], bool],
        progress: OnProgress | None,
        on_begin: OnBegin,
    ) -> Mapping[str, Any]:
        until = time.monotonic() + _limit(deadline)
        told = loading = False
        while True:
            if not told and cancelled():
                running.send({"kind": "cancel"}, limit=KILL_S)
                told = True
                # A model that is being loaded is there for those who ask next.
                if not loading:
                    until = time.monotonic() + KILL_S
            if (answer := running.answer("probe", timeout=POLL_S)) is None:
                _check_time(until)
                continue
            match answer["kind"]:
                case "loading":
                    loading, until = True, time.monotonic() + LOAD_S
                case "begun":
                    on_begin(answer["deadline"])
                    loading = False
                    until = time.monotonic() + (KILL_S if told else _limit(answer["deadline"]))
                case "progress" if progress is not None:
                    progress(answer["state"])
                case "report":
                    report: Mapping[str, Any] = answer["report"]
                    return report
                case _:
                    _raise_what_is_wrong(answer)


def _raise_what_is_wrong(answer: Mapping[str, Any]) -> None:
    match answer["kind"]:
        case "problem":
            raise Problem.from_dict(answer["problem"])
        case "engine_error":
            raise EngineError(answer["detail"])
        case "mistake":
            raise MistakeError("the process that probes made a mistake, which it has logged")


def _limit(deadline: float) -> float:
    """Seconds until a probe must have ended that has this deadline."""
    return max(0.0, deadline - time.monotonic()) + GRACE_S + KILL_S


def _check_time(until: float) -> None:
    """Takes a process for ended that has not answered by then, on the monotonic clock."""
    if time.monotonic() > until:
        raise EOFError


def _named(bundle: Bundle) -> Mapping[str, str]:
    return {"bundle": str(bundle.path.resolve()), "sha256": bundle.sha256}


def process_ended() -> Problem:
    """What a job gets whose process has ended."""
    return Problem(
        "engine_failed",
        "the process that probes has ended, and is replaced: try again",
        headers={"Retry-After": "1"},
    )
