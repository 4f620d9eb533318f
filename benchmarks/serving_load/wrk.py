"""Load from wrk, a compiled generator that keeps a number of connections busy."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

_SCRIPT = """
local file = assert(io.open("{body}", "rb"))
wrk.method = "POST"
wrk.body = file:read("*a")
wrk.headers["Content-Type"] = "{content_type}"
file:close()
done = function(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '\\n{{"requests": %d, "microseconds": %d, "median": %d, "p99": %d, "failed": %d}}\\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What was measured at one number of connections. Latencies in milliseconds.

    `failed` counts answers other than 2xx and 3xx, and connections and requests that got none; `cpu_ms` is
    the server's processor time for one answer.
    """

    connections: int
    per_second: float
    median_ms: float
    p99_ms: float
    failed: int
    cpu_ms: float | None = None


def require_wrk() -> str:
    """The path of wrk.

    Raises:
        RuntimeError: it is not installed.
    """
    path = shutil.which("wrk")
    if path is None:
        raise RuntimeError(
            "wrk is not installed; it comes with most systems (apt install wrk, brew install wrk)"
        )
    return path


def load(url: str, body: bytes, *, content_type: str, connections: int, seconds: float) -> Load:
    """Posts `body` to `url` for some seconds, each connection as soon as it has its answer.

    Raises:
        RuntimeError: wrk failed, or is not installed.
    """
    with tempfile.TemporaryDirectory() as folder:
        file, script = Path(folder) / "body", Path(folder) / "post.lua"
        file.write_bytes(body)
        script.write_text(_SCRIPT.format(body=file, content_type=content_type), encoding="utf-8")
        command = [require_wrk(), "-t1", f"-c{connections}", f"-d{seconds:g}s", "--timeout", "10s", "-s"]
        result = subprocess.run(
            [*command, str(script), url], capture_output=True, text=True, check=False, timeout=seconds + 60
        )
    if result.returncode:
        raise RuntimeError(f"wrk failed: {result.stderr or result.stdout}")
    return parse(result.stdout, connections=connections)


def parse(output: str, *, connections: int) -> Load:
    """Reads what the script prints at the end of wrk's output."""
    found = json.loads(output.strip().splitlines()[-1])
    return Load(
        connections=connections,
        # Those that failed were no answers.
        per_second=(found["requests"] - min(found["failed"], found["requests"]))
        / found["microseconds"]
        * 1e6,
        median_ms=found["median"] / 1000,
        p99_ms=found["p99"] / 1000,
        failed=found["failed"],
    )
