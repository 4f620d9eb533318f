"""How many processor cores this process may use, by its affinity and by the quota of its control group."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

_GROUPS = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")


def usable_cores(*, groups: Path = _GROUPS, own: Path = _OWN) -> int:
    """Whole cores, at least one. More threads than the quota has cores are stopped for most of the time.

    Args:
        groups: where the hierarchies of control groups are mounted.
        own: the file that says in which groups this process is.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, int(min([cores, *_quotas(groups, own)])))


def _quotas(groups: Path, own: Path) -> Iterator[float]:
    """The quotas, in cores, of the groups of this process and of those that hold them."""
    for line in _text(own).splitlines():
        # cgroups(7): hierarchy-ID:controller-list:cgroup-path; version 2 has no list.
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        root = groups / controllers
        # In a container, the path may be that outside of it, and the group's own files lie at the root.
        folder = root / path.strip("/")
        for group in (folder, *folder.parents):
            if group == root.parent:
                break
            quota = _text(group / "cpu.max") or " ".join(
                _text(group / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period")
            )
            match quota.split():
                case [most, period] if most.isdigit() and period.isdigit() and int(period):
                    yield int(most) / int(period)


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return ""
