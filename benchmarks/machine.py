"""What measured: the machine and the commit, kept with every result. Needs no torch."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_REPOSITORY = Path(__file__).parents[1]
_RESULTS = "benchmarks/**/results/**"


def provenance(*, threads: int | None = None) -> dict[str, Any]:
    """`cpu`, `cores` and `commit`, and `threads` where they were set."""
    found: dict[str, Any] = {"cpu": _cpu(), "cores": os.cpu_count(), "commit": _commit()}
    return found if threads is None else found | {"threads": threads}


def described(found: Mapping[str, Any]) -> str:
    """What `provenance` gave, or a part of it, for people."""
    parts = [str(found["cpu"]) if "cpu" in found else "a machine that was not recorded"]
    for unit in ("cores", "threads"):
        if unit in found:
            parts.append(f"{found[unit]} {unit.removesuffix('s') if found[unit] == 1 else unit}")
    if "commit" in found:
        commit, changed, _ = found["commit"].partition("+")
        parts.append(f"commit {commit[:7]}{'+changes' if changed else ''}")
    return ", ".join(parts)


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _commit() -> str:
    """With '+changes' where the code differs from it; 'unknown' outside a git checkout."""
    try:
        # Results that a benchmark has written over since are not what measures.
        changed = _git(
            "status", "--porcelain", "--untracked-files=no", "--", ".", f":(exclude,glob){_RESULTS}"
        )
        return _git("rev-parse", "HEAD") + ("+changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=_REPOSITORY, check=True, capture_output=True, text=True)
    return done.stdout.strip()
