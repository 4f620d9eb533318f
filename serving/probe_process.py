"""A worker's side of the processes that probe for it (`serving.probe_worker`); one that ends is replaced."""

from __future__ import annotations

import contextlib
import os
import queue
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from engines.engine import EngineError
from export.bundle import Bundle
from serving.frames import read_frame, write_frame
from serving.probe_job import OnProgress, ProbeJob
from serving.problems import Problem
from serving.settings import Settings

POLL_S = 0.02
"""How long a cancelled probe may go on unnoticed."""
KILL_S = 10.0
"""A process that has not ended its step so long after it was told to is killed."""
_MODULE = "serving.probe_worker"
_HOME = Path(__file__).resolve().parents[1]
_SECRETS = {"keys", "keys_file"}


class ProbeProcess:
    """One process, started when it is first needed. For one thread at a time."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self._answering = False
        self._stopped = False

    @property
    def pid(self) -> int | None:
        """Of the process; None while there is none."""
        return None if self._process is None else self._process.pid

    def load(self, bundle: Bundle) -> None:
        """Lets it get a model ready, without waiting for it."""
        with contextlib.suppress(OSError):
            self._send({"kind": "load", **_named(bundle)})

    def run(
        self, job: ProbeJob, *, cancelled: Callable[[], bool], progress: OnProgress | None = None
    ) -> Mapping[str, Any]:
        """The report of `job`, as `ProbeJob.run`.

        Raises:
            Problem: as `ProbeJob.run`; model_unavailable; engine_failed also when the process has ended, or
                did not stop when it was told to.
            EngineError: the engine does not answer.
            RuntimeError: a mistake of ours, which the process has logged.
        """
        head = {
            "kind": "probe",
            **_named(job.model.bundle),
            "request": job.request.to_dict(),
            "max_pixels": job.max_pixels,
            "deadline": job.deadline,
        }
        self._answering = False
        # One that died while it was idle is noticed now, and is not this job's fault.
        for trust in (False, True):
            try:
                return self._report(self._send(head, job.data), cancelled, progress)
            except (OSError, EOFError):
                self.close()
                if trust or self._answering or self._stopped or cancelled():
                    break
        raise _ended()

    def stop(self) -> None:
        """Ends the process for good, whatever it does; for any thread."""
        self._stopped = True
        if (process := self._process) is not None:
            process.kill()

    def close(self) -> None:
        """Ends the process at once; the next job starts another, unless it was stopped."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    pipe.close()
            self._process = None

    def _send(self, head: Mapping[str, Any], body: bytes = b"") -> int:
        """Sends a message to the process, started if need be; returns the descriptor that it answers on."""
        if self._process is None or self._process.poll() is not None:
            self.close()
            self._process = self._started()
        assert self._process.stdin is not None and self._process.stdout is not None
        write_frame(self._process.stdin.fileno(), head, body)
        return self._process.stdout.fileno()

    def _started(self) -> subprocess.Popen[bytes]:
        if self._stopped:
            raise OSError("the server is stopping")
        process = subprocess.Popen(
            [sys.executable, "-m", _MODULE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(_HOME), *filter(None, sys.path)])},
        )
        assert process.stdin is not None
        settings = self._settings.model_dump(mode="json", exclude=_SECRETS)
        write_frame(process.stdin.fileno(), {"settings": settings})
        return process

    def _report(
        self, answers: int, cancelled: Callable[[], bool], progress: OnProgress | None
    ) -> Mapping[str, Any]:
        told_at: float | None = None
        while True:
            if told_at is None and cancelled():
                self._send({"kind": "cancel"})
                told_at = time.monotonic()
            elif told_at is not None and time.monotonic() - told_at > KILL_S:
                raise EOFError
            if not select.select([answers], [], [], POLL_S)[0]:
                continue
            frame = read_frame(answers)
            if frame is None:
                raise EOFError
            self._answering = True
            head, _ = frame
            match head["kind"]:
                case "progress" if progress is not None:
                    progress(head["state"])
                case "report":
                    report: Mapping[str, Any] = head["report"]
                    return report
                case "problem":
                    raise Problem.from_dict(head["problem"])
                case "engine_error":
                    raise EngineError(head["detail"])
                case "mistake":
                    raise RuntimeError("the process that probes made a mistake, which it has logged")


class ProbeProcesses:
    """As many processes as probes may run at the same time. Safe to use from as many threads."""

    def __init__(self, settings: Settings, *, count: int) -> None:
        self.count = count
        self._everyone = [ProbeProcess(settings) for _ in range(count)]
        self._idle: queue.SimpleQueue[ProbeProcess] = queue.SimpleQueue()
        for process in self._everyone:
            self._idle.put(process)

    def load(self, bundle: Bundle) -> None:
        """Starts those that are idle, and lets them get a model ready."""
        # Whoever is done goes to the end of the queue.
        for _ in self._everyone:
            with self._one() as process:
                process.load(bundle)

    def run(
        self, job: ProbeJob, *, cancelled: Callable[[], bool], progress: OnProgress | None = None
    ) -> Mapping[str, Any]:
        """As `ProbeProcess.run`, in one that is idle; waits for one if there is none."""
        with self._one() as process:
            return process.run(job, cancelled=cancelled, progress=progress)

    def close(self) -> None:
        """Ends all processes at once and for good, whatever they do."""
        for process in self._everyone:
            process.stop()
        with contextlib.suppress(queue.Empty):
            while True:
                self._idle.get_nowait().close()

    @contextlib.contextmanager
    def _one(self) -> Iterator[ProbeProcess]:
        process = self._idle.get()
        try:
            yield process
        finally:
            self._idle.put(process)


def _named(bundle: Bundle) -> Mapping[str, str]:
    return {"bundle": str(bundle.path.resolve()), "sha256": bundle.sha256}


def _ended() -> Problem:
    return Problem(
        "engine_failed",
        "the process that probes has ended, and is replaced: try again",
        headers={"Retry-After": "1"},
    )
