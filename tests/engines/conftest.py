"""A bundle with answers in closed form, for every engine."""

from __future__ import annotations

from pathlib import Path

import pytest

from export.bundle import Bundle
from tests.export.linear_bundle import write_linear_bundle


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return write_linear_bundle(tmp_path / "models")
