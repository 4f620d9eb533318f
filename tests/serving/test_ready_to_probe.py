"""A server that probes is ready once it can; what a process needs to get that far is not the probe's time."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from engines.load import EngineOptions, load_engine
from export.bundle import Bundle
from export.triton_repository import write_triton_repository
from probes.request import ProbeRequest
from serving.models.model import Model
from serving.probing import process as probe_process
from serving.probing.frames import read_frame
from serving.probing.job import ProbeJob
from serving.probing.process import ProbeProcess
from serving.probing.processes import ProbeProcesses
from serving.probing.worker import Prober
from serving.settings import Settings
from tests.engines.triton_server import Behaviour, triton_server
from tests.serving import pictures
from tests.serving.asking import Reply, ask
from tests.serving.color_bundle import write_color_bundle
from tests.serving.conftest import running_server
from tests.serving.in_process import asking, started

IMAGE = pictures.plain((140, 120, 10))


@dataclass(frozen=True, slots=True, kw_only=True)
class Triton:
    """A Triton that computes for a server, and holds still while `behaviour.hang` says so."""

    bundle: Bundle
    url: str
    gradient: Path
    behaviour: Behaviour

    @property
    def settings(self) -> Settings:
        return Settings(models_dir=self.bundle.path.parents[1], engine="triton", triton_url=self.url)


@pytest.fixture
def triton(tmp_path: Path) -> Iterator[Triton]:
    bundle, behaviour = write_color_bundle(tmp_path / "models"), Behaviour()
    _, gradient = write_triton_repository(bundle, tmp_path / "repository")
    with triton_server(tmp_path / "repository", behaviour) as url:
        yield Triton(bundle=bundle, url=url, gradient=gradient / "1", behaviour=behaviour)


def _until(ask_again: Callable[[], Reply], status: int) -> Reply:
    deadline = time.monotonic() + 120
    while (reply := ask_again()).status != status:
        assert time.monotonic() < deadline, reply.json
        time.sleep(0.1)
    return reply


def test_a_server_is_ready_once_it_can_probe_and_classifies_before(triton: Triton, tmp_path: Path) -> None:
    away = triton.gradient.rename(tmp_path / "away")
    settings = {
        "CLEAD_MODELS_DIR": str(triton.settings.models_dir),
        "CLEAD_ENGINE": "triton",
        "CLEAD_TRITON_URL": triton.url,
    }
    with running_server(tmp_path / "classifying", settings | {"CLEAD_PROBE": "0"}) as server:
        assert ask(server.port, "GET", "/readyz").json["probe"] is False
    with running_server(tmp_path / "probing", settings, path="/livez") as server:
        _until(lambda: ask(server.port, "POST", "/classify", IMAGE, "image/png"), 200)

        def reason() -> str:
            return str(_until(lambda: ask(server.port, "GET", "/readyz"), 503).json["detail"])

        deadline = time.monotonic() + 60
        while "does not serve colors-gradient" not in reason():
            assert time.monotonic() < deadline, reason()
        assert reason().startswith("the default model cannot be probed")
        away.rename(triton.gradient)
        _until(lambda: ask(server.port, "GET", "/readyz"), 200)
        # From now on a Triton that fails is what a request hears of.
        triton.gradient.rename(away)
        assert ask(server.port, "GET", "/readyz").status == 200


def _job(triton: Triton, *, deadline: float) -> ProbeJob:
    engine = load_engine(triton.bundle, EngineOptions(engine="cpu", threads=1))
    return ProbeJob(
        model=Model(bundle=triton.bundle, engine=engine, info=engine.describe()),
        data=IMAGE,
        request=ProbeRequest(eps=(0.2,), steps=1, restarts=1),
        max_pixels=10_000,
        deadline=deadline,
    )


def _never() -> bool:
    return False


def test_the_deadline_is_put_off_by_what_the_process_needed_to_begin(
    triton: Triton, monkeypatch: pytest.MonkeyPatch
) -> None:
    deadlines: list[float] = []

    def run(job: ProbeJob, **_: object) -> dict[str, Any]:
        deadlines.append(job.deadline)
        return {}

    monkeypatch.setattr(ProbeJob, "run", run)
    answers, answering = os.pipe()
    settings = triton.settings.model_copy(update={"engine": "cpu"})
    prober = Prober(settings, answers=answering, cancelled=threading.Event())
    now = time.monotonic()
    head = {
        "bundle": str(triton.bundle.path),
        "sha256": triton.bundle.sha256,
        "request": ProbeRequest().to_dict(),
        "max_pixels": 10_000,
        # Ten minutes ago, with a deadline that has long passed.
        "since": now - 600.0,
        "deadline": now - 598.0,
    }
    for _ in range(2):
        prober.probe(head, IMAGE)
    os.close(answering)
    told = []
    while (frame := read_frame(answers)) is not None:
        told.append(frame[0])
    os.close(answers)
    assert [one["kind"] for one in told] == ["loading", "begun", "report", "begun", "report"]
    assert [one["deadline"] for one in told if one["kind"] == "begun"] == deadlines
    assert now + 1.99 <= deadlines[0] <= deadlines[1] <= time.monotonic() + 2.01


def test_a_worker_is_told_when_a_probe_begins(triton: Triton) -> None:
    process = ProbeProcess(triton.settings.model_copy(update={"engine": "cpu"}))
    begun: list[float] = []
    job = _job(triton, deadline=time.monotonic() + 60.0)
    since = time.monotonic()
    process.run(job, cancelled=_never, on_begin=begun.append)
    process.close()
    assert job.deadline < begun[0] < job.deadline + time.monotonic() - since


def test_a_model_goes_on_loading_when_nobody_waits_for_the_probe(
    triton: Triton, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe_process, "KILL_S", 0.1)
    monkeypatch.setattr(probe_process, "GRACE_S", 60.0)
    process = ProbeProcess(triton.settings)
    triton.behaviour.hang = threading.Event()
    gone = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        job = _job(triton, deadline=time.monotonic() + 60.0)
        probing = pool.submit(process.run, job, cancelled=gone.is_set)
        try:
            deadline = time.monotonic() + 60
            # It is told to load before the first images reach Triton.
            while triton.behaviour.waiting == 0:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            pid = process.pid
            gone.set()
            # Far longer than a process is given to stop.
            assert not _ends(probing.done, within=1.0)
            monkeypatch.setattr(probe_process, "KILL_S", 60.0)
        finally:
            triton.behaviour.hang.set()
        assert probing.result(60)["budget"]["exhausted"] is True
    gone.clear()
    assert process.run(job, cancelled=_never)["verdict"] == "flipped"
    assert process.pid == pid
    process.close()


def _ends(done: Callable[[], bool], *, within: float) -> bool:
    until = time.monotonic() + within
    while time.monotonic() < until:
        if done():
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize(("postponed", "status"), [(True, 200), (False, 504)])
def test_an_answer_is_waited_for_from_when_its_probe_began(
    models_dir: Path, monkeypatch: pytest.MonkeyPatch, postponed: bool, status: int
) -> None:
    monkeypatch.setattr("serving.probing.route.GRACE_S", 0.0)

    def attack(
        _: object,
        job: ProbeJob,
        *,
        cancelled: Callable[[], bool],
        on_begin: Callable[[float], None],
        **__: Any,
    ) -> object:
        if postponed:
            on_begin(job.deadline + 60)
        while time.monotonic() < job.deadline + 0.5 and not cancelled():
            time.sleep(0.02)
        return {"verdict": "held", "threat": None, "budget": {"gradient_evaluations": 1}}

    monkeypatch.setattr(ProbeProcesses, "run", attack)

    async def scenario() -> None:
        async with started(Settings(models_dir=models_dir)) as (front, _), asking(front) as client:
            reply = await client.post("/probe?deadline_ms=2000", content=IMAGE, timeout=60)
            assert reply.status_code == status

    asyncio.run(scenario())
