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
from contextlib import contextmanager
from pathlib import Path


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
    with running(command, port=port, cwd=cwd, limit=limit) as seconds:
        return seconds


@contextmanager
def running(
    command: Sequence[str],
    *,
    port: int,
    cwd: Path,
    limit: float,
    environment: Mapping[str, str] | None = None,
    ready: str = "/readyz",
) -> Iterator[float]:
    """A server as a process, from when GET `ready` on `port` answers 200; yields the seconds until then.

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
            yield time.monotonic() - started
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
            process.wait(timeout=60)


def _ready(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1.0)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
