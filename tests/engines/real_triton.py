"""A real Triton server as a process, from the folder that CLEAD_TRITON names (tests/engines/prepare-triton.sh
makes one).
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import tritonclient.grpc as grpc_client
from tritonclient.utils import InferenceServerException

START_S = 120.0


def triton_folder() -> Path:
    """What CLEAD_TRITON names; skips the test where it is not set."""
    folder = os.environ.get("CLEAD_TRITON")
    if not folder:
        pytest.skip(
            "needs a Triton server: make one with tests/engines/prepare-triton.sh, and set CLEAD_TRITON"
        )
    return Path(folder)


def triton_packages() -> Path:
    """The folder with the NumPy and the ONNX Runtime that the server's models use."""
    (packages,) = triton_folder().glob("lib/python3*/site-packages")
    return packages


@contextmanager
def real_triton(repository: Path, *, port: int, log: Path) -> Iterator[None]:
    """Serves `repository` on `port` of the loopback interface; yields when every model is ready."""
    command = [
        str(triton_folder() / "bin" / "triton"),
        f"--model-repository={repository}",
        "--rate-limit=execution_count",
        "--grpc-address=127.0.0.1",
        f"--grpc-port={port}",
        "--allow-http=false",
        "--allow-metrics=false",
    ]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        _wait_until_ready(process, port, log)
        yield
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_ready(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_S
    while not _ready(port):
        if process.poll() is not None or time.monotonic() > deadline:
            pytest.fail(f"Triton is not ready:\n{log.read_text()}")
        time.sleep(0.1)


def _ready(port: int) -> bool:
    client = grpc_client.InferenceServerClient(f"127.0.0.1:{port}")
    try:
        return bool(client.is_server_ready(client_timeout=5.0))
    except InferenceServerException:
        return False
    finally:
        client.close()
