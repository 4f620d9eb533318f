"""More idle connections than the usual limit of open files lock nobody out."""

from __future__ import annotations

import resource
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.serving.asking import ask
from tests.serving.conftest import running_server

LOW = 256
"""More than a server needs for itself."""
START = f"ulimit -Sn {LOW} && exec {sys.executable} -m bentoml serve serving.service:Service"


@contextmanager
def _own_limit(needed: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < needed:
        pytest.skip(f"no process of this user may open {needed} files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_server_that_was_started_with_a_low_limit_answers_beside_more_idle_connections(
    models_dir: Path, tmp_path: Path
) -> None:
    settings = {"CLEAD_MODELS_DIR": str(models_dir), "CLEAD_PROBE": "0"}
    with (
        _own_limit(4 * LOW),
        running_server(tmp_path / "home", settings, command=["bash", "-c", START]) as server,
        ExitStack() as connections,
    ):
        for _ in range(2 * LOW):
            connections.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=10))
        assert ask(server.port, "GET", "/livez").status == 200
