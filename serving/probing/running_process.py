"""A process that probes (`serving.probing.worker`) while it runs: what it is told, and what it answers."""

from __future__ import annotations

import contextlib
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from serving.probing.frames import read_frame, write_frame
from serving.settings import Settings

Asker = Literal["load", "probe"]
"""Who gets an answer: whoever has a model got ready, or whoever has an image probed."""
_MODULE = "serving.probing.worker"
_HOME = Path(__file__).resolve().parents[2]


class RunningProcess:
    """The process and the pipes to it. Safe to use from several threads, of which one asks for models and one
    for probes: neither waits for the answers to the other.
    """

    def __init__(self, settings: Settings) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", _MODULE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(_HOME), *filter(None, sys.path)])},
        )
        self._writing = threading.Lock()
        self._answers: dict[Asker, queue.SimpleQueue[Mapping[str, Any] | None]] = {
            "load": queue.SimpleQueue(),
            "probe": queue.SimpleQueue(),
        }
        threading.Thread(target=self._read, name="clead-probe-answers", daemon=True).start()
        # What was not chosen stays a default there too: some defaults follow from other settings. One that
        # ends at once is noticed with the first message.
        with contextlib.suppress(OSError):
            self._write({"settings": settings.model_dump(mode="json", exclude_unset=True)})

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    def send(self, head: Mapping[str, Any], body: bytes = b"", *, limit: float) -> None:
        """Sends a message; a process that has not read it within `limit` seconds is killed.

        Raises:
            BrokenPipeError: the process has ended.
        """
        with _after(limit, self.kill):
            self._write(head, body)

    def answer(self, asker: Asker, *, timeout: float) -> Mapping[str, Any] | None:
        """The next answer to one of those who ask; None if there is none in so many seconds.

        Raises:
            EOFError: the process has ended.
        """
        try:
            answer = self._answers[asker].get(timeout=timeout)
        except queue.Empty:
            return None
        if answer is None:
            raise EOFError
        return answer

    def kill(self) -> None:
        """Ends it at once; for any thread, also while another one writes to it."""
        self._process.kill()

    def end(self) -> None:
        """Ends it at once and releases what it held; for any thread, any number of times."""
        self.kill()
        self._process.wait()
        with self._writing:
            assert self._process.stdin is not None
            self._process.stdin.close()

    def _write(self, head: Mapping[str, Any], body: bytes = b"") -> None:
        with self._writing:
            assert self._process.stdin is not None
            if self._process.stdin.closed:
                raise BrokenPipeError
            write_frame(self._process.stdin.fileno(), head, body)

    def _read(self) -> None:
        assert self._process.stdout is not None
        try:
            with self._process.stdout as pipe:
                while (frame := read_frame(pipe.fileno())) is not None:
                    self._answers[frame[0]["to"]].put(frame[0])
        finally:
            for answers in self._answers.values():
                answers.put(None)


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
