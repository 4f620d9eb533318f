"""Models that load late, slowly, or only at the second try: the server's engine is a Triton that the test
commands.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from engines.engine import Engine, EngineError
from export.bundle import Bundle
from export.triton_repository import write_triton_repository
from serving.models.registry import ModelRegistry
from serving.problems import Problem
from serving.settings import Settings
from tests.engines.triton_server import Behaviour, triton_server
from tests.serving import pictures
from tests.serving.asking import Reply, ask
from tests.serving.color_bundle import write_color_bundle
from tests.serving.conftest import Server, running_server

IMAGE = pictures.plain()
# Short for an answer that has to wait for an engine, which is given 30 s; long for one that need not.
DEADLINE_MS = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Triton:
    """A Triton that serves two models: the default one, and `other`."""

    url: str
    repository: Path
    models: Path
    behaviour: Behaviour


@pytest.fixture
def triton(tmp_path: Path) -> Iterator[Triton]:
    models, repository, behaviour = tmp_path / "models", tmp_path / "repository", Behaviour()
    for name in ("colors", "other"):
        write_triton_repository(write_color_bundle(models, name=name), repository)
    with triton_server(repository, behaviour) as url:
        yield Triton(url=url, repository=repository, models=models, behaviour=behaviour)


def _settings(triton: Triton) -> dict[str, str]:
    return {
        "CLEAD_MODELS_DIR": str(triton.models),
        "CLEAD_DEFAULT_MODEL": "colors",
        "CLEAD_ENGINE": "triton",
        "CLEAD_TRITON_URL": triton.url,
        "CLEAD_CLASSIFY_DEADLINE_MS": str(DEADLINE_MS),
    }


def _classify(server: Server, model: str = "") -> Reply:
    return ask(server.port, "POST", f"/classify{model and '?model='}{model}", IMAGE, "image/png")


def _until_200(server: Server, model: str = "", *, within_s: float = 60) -> Reply:
    deadline = time.monotonic() + within_s
    while (reply := _classify(server, model)).status != 200:
        assert time.monotonic() < deadline, reply.json
        time.sleep(0.2)
    return reply


def test_nothing_waits_longer_for_a_loading_model_than_its_deadline(triton: Triton, tmp_path: Path) -> None:
    triton.behaviour.hang = threading.Event()
    with running_server(tmp_path / "home", _settings(triton), path="/livez") as server:
        try:
            for path in ("/classify", f"/probe?deadline_ms={DEADLINE_MS}"):
                reply = ask(server.port, "POST", path, IMAGE, "image/png")
                # Had it waited for the engine, the detail would be that the engine failed.
                assert (reply.status, reply.json["code"]) == (503, "not_ready")
                assert reply.json["detail"] == "the default model is being loaded"
        finally:
            triton.behaviour.hang.set()
        _until_200(server)

        triton.behaviour.hang = threading.Event()
        try:
            for path in ("/classify?model=other", f"/probe?model=other&deadline_ms={DEADLINE_MS}"):
                reply = ask(server.port, "POST", path, IMAGE, "image/png")
                assert (reply.status, reply.json["code"]) == (504, "deadline_exceeded")
                assert "not loaded" in reply.json["detail"]
                assert int(reply.headers["retry-after"]) >= 1
        finally:
            triton.behaviour.hang.set()
        assert _until_200(server, "other").json["model"]["name"] == "other"


def test_an_engine_that_comes_up_later_is_found(triton: Triton, tmp_path: Path) -> None:
    away = {name: triton.repository / name / "1" for name in ("colors", "other")}
    for name, folder in away.items():
        folder.rename(tmp_path / name)
    with running_server(tmp_path / "home", _settings(triton), path="/livez") as server:
        deadline = time.monotonic() + 60
        while "does not serve colors" not in ask(server.port, "GET", "/readyz").json["detail"]:
            assert time.monotonic() < deadline
        (tmp_path / "colors").rename(away["colors"])
        assert _until_200(server).json["predictions"][0]["label"] == "red"
        # It is to be got ready for probes as well.
        while ask(server.port, "GET", "/readyz").status != 200:
            assert time.monotonic() < deadline

        refused = _classify(server, "other")
        assert (refused.status, refused.json["code"]) == (503, "model_unavailable")
        assert "does not serve other" in refused.json["detail"]
        assert int(refused.headers["retry-after"]) >= 1
        (tmp_path / "other").rename(away["other"])
        assert _until_200(server, "other").json["model"]["name"] == "other"


def test_a_triton_that_hangs_holds_a_thread_no_longer_than_a_request_waits(
    triton: Triton, tmp_path: Path
) -> None:
    settings = _settings(triton) | {"CLEAD_PROBE": "0", "CLEAD_CLASSIFY_CONCURRENCY": "1"}
    with running_server(tmp_path / "home", settings) as server:
        triton.behaviour.hang = threading.Event()
        assert _classify(server).json["code"] in ("deadline_exceeded", "engine_failed")
        # Hung for good is only what came before.
        hung, triton.behaviour.hang = triton.behaviour.hang, None
        try:
            assert _until_200(server, within_s=20).json["model"]["name"] == "colors"
        finally:
            hung.set()


def test_the_manifest_is_answered_while_the_engine_starts_and_when_it_fails(models_dir: Path) -> None:
    starting, answered = threading.Event(), threading.Event()

    def start(_: Bundle) -> Engine:
        starting.set()
        # Only a registry that answers meanwhile lets this end in time.
        raise EngineError("answered meanwhile" if answered.wait(20) else "kept waiting")

    def read() -> None:
        registry.bundle("colors")
        answered.set()

    registry = ModelRegistry(Settings(models_dir=models_dir), start)
    with ThreadPoolExecutor(1) as pool:
        loading = pool.submit(registry.get, None)
        assert starting.wait(20)
        reading = threading.Thread(target=read)
        reading.start()
        with pytest.raises(Problem, match="answered meanwhile"):
            loading.result()
        reading.join()
    assert registry.bundle("colors").manifest.name == "colors"
    with pytest.raises(Problem, match="answered meanwhile"):
        registry.get("colors")
