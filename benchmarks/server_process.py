"""A server started as a process, and the time until it answers."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

# proc(5), counted from the field after the name.
_STATE, _PARENT, _SESSION = 0, 1, 3
_TIMES = (11, 12)
_RESIDENT = 21
_LOOK_S, _IDLE = 0.5, 0.1
Stats = dict[int, list[str]]
"""Of each process, by its number."""


def free_port() -> int:
    """A TCP port on the loopback interface that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def seconds_to_ready(command: Sequence[str], *, port: int, cwd: Path, limit: float) -> float:
    """Start `command`, wait until it is ready as in `running`, stop it, and return the seconds it took.

    Raises:
        RuntimeError: if it ends, or is not ready within `limit` seconds; with the end of its output.
    """
    with running(command, port=port, cwd=cwd, limit=limit) as server:
        return server.seconds_to_ready


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A server that is up."""

    seconds_to_ready: float
    pid: int

    def cpu_seconds(self) -> float:
        """Processor time of the process and of all below it that still run, as Linux counts it."""
        ticks = sum(int(stat[field]) for stat in self._stats().values() for field in _TIMES)
        return ticks / os.sysconf("SC_CLK_TCK")

    def memory_mib(self) -> float:
        """Resident memory of the same processes; what they share is counted for each."""
        pages = sum(int(stat[_RESIDENT]) for stat in self._stats().values())
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    def settle(self, *, limit: float) -> None:
        """Waits until the processes hardly compute, but not longer than `limit` seconds."""
        until = time.monotonic() + limit
        while time.monotonic() < until:
            before = self.cpu_seconds()
            time.sleep(_LOOK_S)
            if self.cpu_seconds() - before < _IDLE * _LOOK_S:
                return

    def pids(self) -> list[int]:
        """The process and all below it."""
        return list(self._stats())

    def _stats(self) -> Stats:
        found = _all_stats()
        parents = {pid: int(stat[_PARENT]) for pid, stat in found.items()}
        return {pid: stat for pid, stat in found.items() if self._is_ours(pid, parents)}

    def _is_ours(self, pid: int, parents: Mapping[int, int]) -> bool:
        while pid and pid != self.pid:
            pid = parents.get(pid, 0)
        return bool(pid)


def _all_stats() -> Stats:
    found: Stats = {}
    for file in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            # The name, in brackets, may hold anything; what follows it is numbers.
            found[int(file.parent.name)] = file.read_text(errors="replace").rpartition(")")[2].split()
    return found


@contextmanager
def running(
    command: Sequence[str],
    *,
    port: int,
    cwd: Path,
    limit: float,
    environment: Mapping[str, str] | None = None,
    ready: str = "/readyz",
) -> Iterator[Running]:
    """A server as a process, from when GET `ready` on `port` answers 200.

    Raises:
        RuntimeError: if it ends, or is not ready within `limit` seconds; with the end of its output.
    """
    started = time.monotonic()
    # A file and not a pipe, which would fill up and hold the server back.
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env={**os.environ, **(environment or {})},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            while not _ready(port, ready):
                if process.poll() is not None or time.monotonic() - started > limit:
                    output.seek(0)
                    end = output.read().decode(errors="replace")[-2000:]
                    raise RuntimeError(f"{' '.join(command)} was not ready within {limit:.0f} s:\n{end}")
                time.sleep(0.02)
            yield Running(seconds_to_ready=time.monotonic() - started, pid=process.pid)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(timeout=60)
            finally:
                _kill_session(process.pid)


def _kill_session(session: int) -> None:
    """Ends what a server has left behind: it would take the processor from the one that is measured next."""
    while left := [
        pid for pid, stat in _all_stats().items() if int(stat[_SESSION]) == session and stat[_STATE] != "Z"
    ]:
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)


def _ready(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1.0)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
