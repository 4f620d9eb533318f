"""One clone and one server for all commands of the documentation."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from tests.docs.clone import Clone, fresh_clone


@pytest.fixture(scope="session")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clone]:
    """A fresh clone whose server runs."""
    missing = [name for name in ("make", "curl") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    with fresh_clone(tmp_path_factory.mktemp("clone")) as made:
        yield made
