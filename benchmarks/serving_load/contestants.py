"""The servers of the benchmark: how each is started and asked."""

from __future__ import annotations

import base64
import importlib.util
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.serving_load.servers.work import BUNDLE, THREADS, WORKERS

OURS, STOCK, LITSERVE, BARE = "ours", "stock BentoML", "LitServe", "bare uvicorn"
_SERVERS = "benchmarks.serving_load.servers"
_BOUNDARY = "----clead-serving-load"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """One server: what it gets at /classify, and where it answers 200 once it is up (`ready`)."""

    name: str
    command: tuple[str, ...]
    body: bytes
    content_type: str
    ready: str = "/readyz"
    environment: Mapping[str, str] = field(default_factory=dict)


def shared_environment(bundle: Path, *, threads: int, workers: int) -> dict[str, str]:
    """What the servers other than ours read."""
    return {BUNDLE: str(bundle), THREADS: str(threads), WORKERS: str(workers)}


def contestant(name: str, *, bundle: Path, image: bytes, port: int, workers: int, threads: int) -> Contestant:
    """The server called `name`, with so many processes of so many threads for the model."""
    shared = shared_environment(bundle, threads=threads, workers=workers)
    python = sys.executable
    if name == OURS:
        return Contestant(
            name=name,
            command=(python, "-m", "bentoml", "serve", "serving.service:Service", "--port", str(port)),
            body=image,
            content_type="image/png",
            environment={
                "CLEAD_MODELS_DIR": str(bundle.parents[1]),
                "CLEAD_DEFAULT_MODEL": f"{bundle.parent.name}/{bundle.name}",
                "CLEAD_ENGINE": "cpu",
                "CLEAD_WORKERS": str(workers),
            },
        )
    if name == STOCK:
        return Contestant(
            name=name,
            command=(
                python,
                "-m",
                "bentoml",
                "serve",
                f"{_SERVERS}.stock_bentoml:Stock",
                "--port",
                str(port),
            ),
            body=_multipart(image),
            content_type=f"multipart/form-data; boundary={_BOUNDARY}",
            environment=shared,
        )
    if name == LITSERVE:
        return Contestant(
            name=name,
            command=(python, "-m", f"{_SERVERS}.litserve_server", str(port), str(workers)),
            body=json.dumps({"image": base64.b64encode(image).decode("ascii")}).encode("ascii"),
            content_type="application/json",
            ready="/health",
            environment=shared,
        )
    command = (
        *(python, "-m", "uvicorn", "--factory", f"{_SERVERS}.bare_uvicorn:application"),
        *("--port", str(port), "--workers", str(workers), "--no-access-log"),
    )
    return Contestant(name=name, command=command, body=image, content_type="image/png", environment=shared)


def available() -> list[str]:
    """The servers that this environment can run; LitServe is no requirement of ours."""
    everyone = [OURS, STOCK, LITSERVE, BARE]
    return [name for name in everyone if name != LITSERVE or importlib.util.find_spec("litserve")]


def _multipart(image: bytes) -> bytes:
    head = (
        f"--{_BOUNDARY}\r\n"
        'Content-Disposition: form-data; name="image"; filename="image.png"\r\n'
        "Content-Type: image/png\r\n\r\n"
    )
    return head.encode("ascii") + image + f"\r\n--{_BOUNDARY}--\r\n".encode("ascii")
