"""Both array libraries that attacks run on."""

from __future__ import annotations

import numpy as np
import pytest

from tests.probes.models import Convert, to_torch


@pytest.fixture(params=["numpy", "torch"])
def convert(request: pytest.FixtureRequest) -> Convert:
    """Turns NumPy arrays into arrays of the library under test."""
    if request.param == "numpy":
        return np.asarray
    request.getfixturevalue("one_thread")
    return to_torch
