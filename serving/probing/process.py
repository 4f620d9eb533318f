"""A worker's side of the processes that probe for it (`serving.probing.worker`), and replaces them."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from engines.engine import EngineError
from export.bundle import Bundle
from serving.observing.request_log import LOGGER
from serving.probing.frames import read_frame, write_frame
from serving.probing.job import OnProgress, ProbeJob
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
_MODULE = "serving.probing.worker"
_HOME = Path(__file__).resolve().parents[2]
_LOG = logging.getLogger(LOGGER)


class MistakeError(RuntimeError):
    """The process made a mistake, and lives."""


class ProbeProcess:
    """One process, started when it is first needed. For one thread at a time.

    Args:
        on_end: called when a process had to be replaced.
    """

    def __init__(self, settings: Settings, *, on_end: Callable[[], None] = lambda: None) -> None:
        self._settings = settings
        self._on_end = on_end
        self._process: subprocess.Popen[bytes] | None = None
        self._stopped = False

    @property
    def pid(self) -> int | None:
        """Of the process; None while there is none."""
        return None if self._process is None else self._process.pid

    def load(self, bundle: Bundle) -> None:
        """Has it get a model ready.

        Raises:
            Problem: model_unavailable: it cannot be used; engine_failed: the process did not get that far.
        """
        try:
            self._answer({"kind": "load", **_named(bundle)}, limit=LOAD_S)
        except (EngineError, MistakeError) as error:
            raise Problem("engine_failed", str(error)) from error

    def forget(self, bundle: Bundle) -> None:
        """Has it release a model, if it has one."""
        if self._process is not None:
            with contextlib.suppress(OSError):
                self._send({"kind": "forget", **_named(bundle)})

    def run(
        self, job: ProbeJob, *, cancelled: Callable[[], bool], progress: OnProgress | None = None
    ) -> Mapping[str, Any]:
        """The report of `job`, as `ProbeJob.run`.

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
        }
        limit = max(0.0, job.deadline - time.monotonic()) + GRACE_S + KILL_S
        return self._answer(head, job.data, limit=limit, cancelled=cancelled, progress=progress)

    def _answer(
        self,
        head: Mapping[str, Any],
        body: bytes = b"",
        *,
        limit: float,
        cancelled: Callable[[], bool] = lambda: False,
        progress: OnProgress | None = None,
    ) -> Mapping[str, Any]:
        """What the process makes of a message, within `limit` seconds."""
        try:
            answers = self._sent(head, body, limit=limit)
            # A process that no longer reads or writes cannot be told anything.
            with _after(limit, self._kill):
                return self._report(answers, cancelled, progress)
        except (Problem, EngineError, MistakeError):
            raise
        except (OSError, EOFError) as error:
            self._discard()
            raise process_ended() from error
        # Whatever it was: an answer that nobody has read would be taken for that to the next job.
        except BaseException:
            self._discard()
            raise

    def stop(self) -> None:
        """Ends the process for good, whatever it does; for any thread."""
        self._stopped = True
        self._kill()

    def close(self) -> None:
        """Ends the process at once; the next job starts another, unless it was stopped."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()

    def _kill(self) -> None:
        if (process := self._process) is not None:
            process.kill()

    def _discard(self) -> None:
        """Ends a process that did not do what it should, or has died, and says so."""
        process = self._process
        died = process.poll() if process is not None else None
        self.close()
        if process is not None and not self._stopped:
            fields = {"pid": process.pid, "exit_code": process.returncode if died is None else died}
            _LOG.warning("a process that probes is replaced", extra={"fields": fields})
            self._on_end()

    def _sent(self, head: Mapping[str, Any], body: bytes, *, limit: float) -> int:
        """Sends a job; a second time where the process died while idle, which is not the job's fault."""
        with _after(limit, self._kill):
            try:
                return self._send(head, body)
            except BrokenPipeError:
                self._discard()
                return self._send(head, body)

    def _send(self, head: Mapping[str, Any], body: bytes = b"") -> int:
        """Sends a message to the process, started if need be; returns the descriptor that it answers on."""
        if self._process is None or self._process.poll() is not None:
            self.close()
            self._start()
        self._write(head, body)
        assert self._process is not None and self._process.stdout is not None
        return self._process.stdout.fileno()

    def _write(self, head: Mapping[str, Any], body: bytes = b"") -> None:
        assert self._process is not None and self._process.stdin is not None
        write_frame(self._process.stdin.fileno(), head, body)

    def _start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", _MODULE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(_HOME), *filter(None, sys.path)])},
        )
        # Whoever stops everything may have looked before there was anything to be stopped.
        if self._stopped:
            self.close()
            raise OSError("the server is stopping")
        # What was not chosen stays a default there too: some defaults follow from other settings.
        self._write({"settings": self._settings.model_dump(mode="json", exclude_unset=True)})

    def _report(
        self, answers: int, cancelled: Callable[[], bool], progress: OnProgress | None
    ) -> Mapping[str, Any]:
        ready = select.poll()
        ready.register(answers, select.POLLIN)
        told_at: float | None = None
        while True:
            if told_at is None and cancelled():
                self._write({"kind": "cancel"})
                told_at = time.monotonic()
            elif told_at is not None and time.monotonic() - told_at > KILL_S:
                raise EOFError
            if not ready.poll(POLL_S * 1000):
                continue
            frame = read_frame(answers)
            if frame is None:
                raise EOFError
            head, _ = frame
            match head["kind"]:
                case "progress" if progress is not None:
                    progress(head["state"])
                case "loaded":
                    return {}
                case "report":
                    report: Mapping[str, Any] = head["report"]
                    return report
                case "problem":
                    raise Problem.from_dict(head["problem"])
                case "engine_error":
                    raise EngineError(head["detail"])
                case "mistake":
                    raise MistakeError("the process that probes made a mistake, which it has logged")


def _named(bundle: Bundle) -> Mapping[str, str]:
    return {"bundle": str(bundle.path.resolve()), "sha256": bundle.sha256}


def process_ended() -> Problem:
    """What a job gets whose process has ended."""
    return Problem(
        "engine_failed",
        "the process that probes has ended, and is replaced: try again",
        headers={"Retry-After": "1"},
    )


@contextlib.contextmanager
def _after(seconds: float, action: Callable[[], None]) -> Iterator[None]:
    """Does `action`, in a thread of its own, once it has taken so long."""
    timer = threading.Timer(seconds, action)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
