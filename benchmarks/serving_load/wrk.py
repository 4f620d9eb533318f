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
  local unanswered = errors.connect + errors.read + errors.write + errors.timeout
  io.write(string.format(
    '\\n{{"requests": %d, "microseconds": %d, "median": %d, "p99": %d, "failed": %d, "unanswered": %d}}\\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    errors.status + unanswered, unanswered))
end
"""
_PAUSE = """
delay = function()
  return math.random(0, {milliseconds})
end
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What was measured at one number of connections. Latencies in milliseconds.

    `failed` counts answers other than 2xx and 3xx, and connections and requests that got none in time, of
    which alone there are `unanswered` (None in files that are older than the count); `cpu_ms` is the server's
    processor time for one answer.
    """

    connections: int
    per_second: float
    median_ms: float
    p99_ms: float
    failed: int
    cpu_ms: float | None = None
    unanswered: int | None = None


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


def load(
    url: str,
    body: bytes,
    *,
    content_type: str,
    connections: int,
    seconds: float,
    pause: float = 0.0,
    timeout: float = 10.0,
) -> Load:
    """Posts `body` to `url` for some seconds, each connection as soon as it has its answer.

    Args:
        pause: seconds that a connection waits on average before it asks, evenly spread from 0 to twice that.
        timeout: seconds after which an answer counts as none.

    Raises:
        RuntimeError: wrk failed, or is not installed.
    """
    with tempfile.TemporaryDirectory() as folder:
        file, script = Path(folder) / "body", Path(folder) / "post.lua"
        file.write_bytes(body)
        lua = _SCRIPT.format(body=file, content_type=content_type)
        if pause:
            lua += _PAUSE.format(milliseconds=round(2000 * pause))
        script.write_text(lua, encoding="utf-8")
        command = [require_wrk(), "-t1", f"-c{connections}", f"-d{seconds:g}s", "--timeout", f"{timeout:g}s"]
        result = subprocess.run(
            [*command, "-s", str(script), url],
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds + 60,
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
        unanswered=found["unanswered"],
    )
