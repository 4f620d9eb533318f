"""Both array libraries that attacks run on."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from tests.probes.models import Convert, to_torch


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Runs torch on one thread: with tensors this small, more threads only wait for each other."""
    torch = pytest.importorskip("torch")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(params=["numpy", "torch"])
def convert(request: pytest.FixtureRequest) -> Convert:
    """Turns NumPy arrays into arrays of the library under test."""
    if request.param == "numpy":
        return np.asarray
    request.getfixturevalue("one_thread")
    return to_torch
