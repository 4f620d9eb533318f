"""Bundles, pictures, and a server as a process."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

import pytest

from engines.load import EngineOptions, load_engine
from export.bundle import load_bundle
from probes.request import ProbeRequest
from serving.client import Client
from serving.models.model import Model
from serving.probing.job import ProbeJob
from serving.probing.process import ProbeProcess
from serving.settings import Settings
from tests.serving import pictures
from tests.serving.asking import ask
from tests.serving.color_bundle import write_color_bundle

ROOT = Path(__file__).resolve().parents[2]
START_S = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A running server: its address, its process, and what it has printed."""

    url: str
    port: int
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def client(self) -> Client:
        return Client(self.url)


StartServer = Callable[..., "contextmanager[Server]"]


@pytest.fixture(scope="session")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder with one model in one version."""
    folder = tmp_path_factory.mktemp("models")
    write_color_bundle(folder)
    return folder


def clean_environment(home: Path, settings: Mapping[str, str]) -> dict[str, str]:
    """This process's variables without any setting of ours or of BentoML's, nor what `make test` hands to a
    `make` below it, and then `settings`.
    """
    ours = ("CLEAD_", "BENTOML_", "MAKE", "MFLAGS", "ENVIRONMENTS")
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
    return inherited | {"BENTOML_HOME": str(home), "BENTOML_DO_NOT_TRACK": "True"} | dict(settings)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def running_server(
    home: Path,
    settings: Mapping[str, str],
    *,
    target: str = "serving.service:Service",
    command: Sequence[str] = (),
    directory: Path = ROOT,
    path: str = "/readyz",
    port: int | None = None,
) -> Iterator[Server]:
    """`bentoml serve TARGET`, or another command, in `directory`; `path` answers 200 when this yields.

    Listens on `port`, or on a free one.
    """
    port = port or free_port()
    home.mkdir(exist_ok=True)
    log = home / f"server-{port}.log"
    environment = clean_environment(home, {"CLEAD_PORT": str(port), **settings})
    command = command or [sys.executable, "-m", "bentoml", "serve", target]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=directory, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
    server = Server(url=f"http://127.0.0.1:{port}", port=port, process=process, log=log)
    try:
        wait_until_200(server, path, settings)
        yield server
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until_200(server: Server, path: str, settings: Mapping[str, str]) -> None:
    deadline = time.monotonic() + START_S
    while True:
        with suppress(OSError, HTTPException):
            if ask(server.port, "GET", path).status == 200:
                return
        if server.process.poll() is not None or time.monotonic() > deadline:
            pytest.fail(f"{path} did not answer 200 with {dict(settings)}:\n{server.log.read_text()}")
        time.sleep(0.1)


@pytest.fixture(scope="session")
def server(models_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all tests that only ask it things."""
    settings = {
        "CLEAD_MODELS_DIR": str(models_dir),
        "CLEAD_MAX_BODY_BYTES": "2000000",
        "CLEAD_MAX_IMAGES": "4",
    }
    with running_server(tmp_path_factory.mktemp("bentoml"), settings) as running:
        yield running


@pytest.fixture(scope="session")
def client(server: Server) -> Client:
    return server.client


@pytest.fixture(scope="module")
def job(models_dir: Path) -> ProbeJob:
    """A probe that finds a flip."""
    bundle = load_bundle(models_dir / "colors" / "1")
    engine = load_engine(bundle, EngineOptions(engine="cpu", threads=1))
    return ProbeJob(
        model=Model(bundle=bundle, engine=engine, info=engine.describe()),
        data=pictures.plain((140, 100, 60)),
        request=ProbeRequest(eps=(0.01, 0.2), steps=5, restarts=1, include=frozenset({"adversarial"})),
        max_pixels=10_000,
        deadline=time.monotonic() + 3600.0,
    )


@pytest.fixture(scope="module")
def process(models_dir: Path) -> Iterator[ProbeProcess]:
    """A process that probes, of a worker of which nothing else is there."""
    one = ProbeProcess(Settings(models_dir=models_dir, engine="cpu", probe_nice=3))
    yield one
    one.close()


@pytest.fixture
def audits() -> Iterator[list[logging.LogRecord]]:
    """The audit records as they are written."""
    records: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = records.append  # type: ignore[method-assign]
    logger = logging.getLogger("clead.audit")
    logger.addHandler(handler)
    yield records
    logger.removeHandler(handler)
