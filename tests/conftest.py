"""How many cores a test takes."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

PROCESSES = "PYTEST_XDIST_WORKER_COUNT"


def pytest_configure() -> None:
    """Before torch is imported: each process would use all cores, and they would wait for each other."""
    if PROCESSES in os.environ:
        threads = max(1, (os.cpu_count() or 1) // int(os.environ[PROCESSES]))
        os.environ.setdefault("OMP_NUM_THREADS", str(threads))


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Runs torch on one thread: with tensors this small, more threads only wait for each other."""
    torch = pytest.importorskip("torch")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
