"""Tests in several processes share the cores."""

from __future__ import annotations

import os

PROCESSES = "PYTEST_XDIST_WORKER_COUNT"


def pytest_configure() -> None:
    """Before torch is imported: each process would use all cores, and they would wait for each other."""
    if PROCESSES in os.environ:
        threads = max(1, (os.cpu_count() or 1) // int(os.environ[PROCESSES]))
        os.environ.setdefault("OMP_NUM_THREADS", str(threads))
