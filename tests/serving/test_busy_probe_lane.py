"""A probe lane that is always full holds up neither roll-outs nor roll-backs."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.serving import pictures
from tests.serving.asking import ask
from tests.serving.color_bundle import write_color_bundle
from tests.serving.conftest import Server, running_server

IMAGE = pictures.plain((140, 120, 10))
# As long as the test may take, for it would go on until its deadline.
ENDLESS = "/probe?certify=true&certify_samples=100000000&deadline_ms=600000"
SETTINGS = {
    "CLEAD_PROBE_MAX_CERTIFY_SAMPLES": "100000000",
    "CLEAD_PROBE_MAX_GRADIENT_EVALUATIONS": "100000000",
    "CLEAD_PROBE_MAX_DEADLINE_MS": "600000",
    "CLEAD_PROBE_QUEUE": "3",
    "CLEAD_ENGINE_THREADS": "1",
}


@contextmanager
def _probing(server: Server) -> Iterator[threading.Event]:
    """A probe that goes on until this ends; set if it was answered before."""
    answered = threading.Event()
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=600)
    connection.request("POST", ENDLESS, IMAGE, {"Content-Type": "image/png"})

    def wait() -> None:
        try:
            connection.getresponse()
            answered.set()
        except (OSError, http.client.HTTPException):
            pass  # The connection was closed from here.

    thread = threading.Thread(target=wait)
    thread.start()
    try:
        yield answered
    finally:
        if connection.sock is not None:
            connection.sock.shutdown(2)
        thread.join()
        connection.close()


def _until_version(server: Server, version: str) -> None:
    deadline = time.monotonic() + 60
    while ask(server.port, "GET", "/readyz").json["model"]["version"] != version:
        assert time.monotonic() < deadline, f"version {version} was never taken up"
        time.sleep(0.1)


def test_versions_come_and_go_while_every_place_for_probes_is_taken(tmp_path: Path) -> None:
    models = tmp_path / "models"
    write_color_bundle(models)
    settings = {"CLEAD_MODELS_DIR": str(models), **SETTINGS}
    with running_server(tmp_path / "home", settings) as server, ExitStack() as clients:
        probes = [clients.enter_context(_probing(server)) for _ in range(4)]
        until = time.monotonic() + 60
        while ask(server.port, "POST", "/probe", IMAGE, "image/png").json["code"] != "overloaded":
            assert time.monotonic() < until, "the lane was never full"

        write_color_bundle(models, version="2")
        _until_version(server, "2")
        (models / "colors" / "2").rename(models / "colors" / "2.withdrawn")
        _until_version(server, "1")
        assert not any(probe.is_set() for probe in probes)
