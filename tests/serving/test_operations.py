"""One server with two workers under `clead serve`, under light load while models come and go, a worker is
killed, and it is told to stop.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from export.bundle import GRADIENT
from tests.serving import pictures
from tests.serving.asking import Reply, ask
from tests.serving.color_bundle import write_color_bundle
from tests.serving.conftest import Server, running_server

COMMAND = [sys.executable, "-c", "from cli.main import main; main()", "serve"]
IMAGE = pictures.plain((140, 120, 10))
CLIENTS = 2
SETTINGS = {
    "CLEAD_WORKERS": "2",
    "BENTOML_CONTAINERIZED": "true",
    "CLEAD_DRAIN_MS": "1500",
    "CLEAD_PROBE_MAX_CERTIFY_SAMPLES": "100000000",
    "CLEAD_PROBE_MAX_GRADIENT_EVALUATIONS": "100000000",
    "CLEAD_ENGINE_THREADS": "1",
}
SHORT_PROBE = "/probe?eps=12/255&deadline_ms=30000"
# Answers with what it has at its deadline, which is after the grace.
LONG_PROBE = "/probe?certify=true&certify_samples=100000000&deadline_ms=5000"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What one client got: the status (0: the connection broke), on which worker, and the body."""

    status: int
    worker: int
    begun: float
    body: bytes


@dataclass(slots=True)
class Load:
    """Clients that classify, each over connections of a few requests, until they are told to stop."""

    port: int
    answers: list[Answer] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def failures(self) -> list[Answer]:
        return [answer for answer in self.answers if answer.status != 200]

    def run(self) -> None:
        while not self.stop.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
            worker = 0
            try:
                for path in ("/readyz", "/classify", "/classify", "/classify"):
                    begun = time.monotonic()
                    answer = self._ask(connection, path, worker, begun)
                    if path == "/readyz":
                        worker = json.loads(answer.body).get("worker", 0)
                    else:
                        self.answers.append(answer)
            except ConnectionRefusedError:
                # Nothing was sent: the server has ended.
                return
            except (OSError, http.client.HTTPException) as error:
                self.answers.append(Answer(status=0, worker=worker, begun=begun, body=repr(error).encode()))
            finally:
                connection.close()
            time.sleep(0.01)

    def _ask(self, connection: http.client.HTTPConnection, path: str, worker: int, begun: float) -> Answer:
        if path == "/readyz":
            connection.request("GET", path)
        else:
            connection.request("POST", path, IMAGE, {"Content-Type": "image/png"})
        response = connection.getresponse()
        return Answer(status=response.status, worker=worker, begun=begun, body=response.read())


@contextmanager
def _load(port: int) -> Iterator[Load]:
    load = Load(port)
    with ThreadPoolExecutor(CLIENTS) as pool:
        clients = [pool.submit(load.run) for _ in range(CLIENTS)]
        try:
            yield load
        finally:
            load.stop.set()
        for client in clients:
            client.result()
    assert len(load.answers) > 10


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("operated")
    write_color_bundle(folder)
    return folder


@pytest.fixture(scope="module")
def operated(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("operated-home")
    # An earlier server has left it; this one drains only when it is told to.
    drain_file = home / "drain"
    drain_file.touch()
    settings = {"CLEAD_MODELS_DIR": str(models), "CLEAD_DRAIN_FILE": str(drain_file), **SETTINGS}
    with running_server(home, settings, command=COMMAND) as server:
        _until(lambda: len(_workers(server)) == 2)
        yield server


def _until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.05)


def _ready(server: Server) -> list[Reply]:
    """So many answers that both workers have given some."""
    return [ask(server.port, "GET", "/readyz") for _ in range(20)]


def _workers(server: Server) -> set[int]:
    return {reply.json["worker"] for reply in _ready(server) if reply.status == 200}


def _versions(server: Server) -> set[str]:
    return {reply.json["model"]["version"] for reply in _ready(server)}


def _classify(server: Server, query: str = "") -> Reply:
    return ask(server.port, "POST", f"/classify{query}", IMAGE, "image/png")


def test_versions_come_and_go_without_a_failed_request(operated: Server, models: Path) -> None:
    with _load(operated.port) as load:
        write_color_bundle(models, version="2")
        _until(lambda: _versions(operated) == {"2"})
        assert _classify(operated, "?model=colors/1").json["model"]["version"] == "1"

        damaged = write_color_bundle(models, version="3").path
        (damaged / GRADIENT).unlink()
        _until(lambda: all(len(reply.json["refused"]) == 1 for reply in _ready(operated)))
        (refused,) = ask(operated.port, "GET", "/readyz").json["refused"]
        listed = {model["version"]: model for model in ask(operated.port, "GET", "/models").json["models"]}
        metrics = ask(operated.port, "GET", "/metrics").body.decode()
        shutil.rmtree(damaged)

        # From now on the folder alone does not say which model is the default one.
        write_color_bundle(models, name="other")
        (models / "colors" / "2").rename(models / "colors" / "2.withdrawn")
        _until(lambda: _versions(operated) == {"1"})

    assert load.failures() == []
    assert {json.loads(answer.body)["model"]["version"] for answer in load.answers} == {"1", "2"}
    assert refused["model"] == "colors/3"
    assert refused["reason"].startswith("colors/3/gradient.onnx is missing")
    assert [listed[version]["current"] for version in "123"] == [False, True, False]
    assert listed["3"]["error"] == refused["reason"]
    assert 'clead_model_refused{model="colors/3"} 1.0' in metrics
    assert '"message": "model version refused", "model": "colors/3"' in operated.log.read_text()
    probed = ask(operated.port, "POST", SHORT_PROBE, IMAGE, "image/png")
    assert probed.json["model"]["version"] == "1"


def test_a_killed_worker_fails_nobody_but_its_own_clients(operated: Server) -> None:
    workers = _workers(operated)
    victim = min(workers)
    with _load(operated.port) as load:
        _until(lambda: {answer.worker for answer in load.answers} >= workers)
        killed = time.monotonic()
        os.kill(victim, signal.SIGKILL)
        _until(lambda: len(_workers(operated) - {victim}) == 2)
        _until(lambda: {answer.worker for answer in load.answers[-20:]} >= _workers(operated))

    on_others = [
        answer
        for answer in load.failures()
        # Which worker a connection has is known once it has answered.
        if answer.worker not in {victim, 0} or (answer.worker == 0 and answer.begun > killed)
    ]
    assert on_others == []
    assert len(load.failures()) <= CLIENTS


def test_sigterm_drains(operated: Server) -> None:
    with ThreadPoolExecutor(3) as pool, _load(operated.port) as load:
        probes = [
            pool.submit(ask, operated.port, "POST", path, IMAGE, "image/png")
            for path in (LONG_PROBE, LONG_PROBE, SHORT_PROBE)
        ]
        # Each worker computes one at a time, so that one may wait.
        _until(lambda: re.search(r'clead_lane_occupied{lane="probe"} [23]', _metrics(operated)) is not None)
        operated.process.send_signal(signal.SIGTERM)
        _until(lambda: {reply.status for reply in _ready(operated)} == {503})
        not_ready, answered = ask(operated.port, "GET", "/readyz"), _classify(operated)
        answers: list[Reply] = []
        _until(lambda: answers.append(_classify(operated)) or answers[-1].status == 503)
        refused = answers[-1]
        finished = [probe.result() for probe in probes]
        # The load goes on until it is refused connections.
        code = operated.process.wait(60)

    assert (not_ready.json["code"], not_ready.headers["connection"]) == ("not_ready", "close")
    assert "draining" in not_ready.json["detail"]
    assert (answered.status, answered.headers["connection"]) == (200, "close")
    assert (refused.json["code"], refused.headers["retry-after"]) == ("not_ready", "1")
    # Every request of the load has its answer: classified, or refused once the grace was over.
    assert {answer.status for answer in load.answers} <= {200, 503}
    assert [reply.status for reply in finished] == [200] * 3
    assert code == 0
    assert not (operated.log.parent / "drain").exists()


def _metrics(server: Server) -> str:
    return ask(server.port, "GET", "/metrics").body.decode()
