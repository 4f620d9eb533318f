"""Probes in a process of their own: the same report, the same problems, and what the process is told."""

from __future__ import annotations

import dataclasses
import os
import resource
import signal
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from export.bundle import GRADIENT
from probes.request import ProbeRequest
from serving.probing.job import ProbeJob
from serving.probing.process import ProbeProcess
from serving.problems import Problem
from serving.settings import Settings
from tests.serving import pictures
from tests.serving.color_bundle import write_color_bundle

REDDISH = pictures.plain((140, 100, 60))
REQUEST = ProbeRequest(eps=(0.01, 0.2), steps=5, restarts=1, include=frozenset({"adversarial"}))
ENDLESS = ProbeRequest(steps=200, restarts=20, certify=True, certify_samples=10_000_000)


def _pid(process: ProbeProcess) -> int:
    assert process.pid is not None
    return process.pid


def _never() -> bool:
    return False


def test_the_report_is_that_of_the_job_itself(process: ProbeProcess, job: ProbeJob) -> None:
    def comparable(report: Mapping[str, Any]) -> dict[str, Any]:
        return {**report, "budget": {**report["budget"], "seconds": None}}

    told: list[Mapping[str, Any]] = []
    report = process.run(job, cancelled=_never, progress=told.append)
    assert comparable(report) == comparable(job.run(cancelled=_never))
    assert report["images"]["adversarial"].startswith("data:image/png")
    assert told[-1]["gradient_evaluations"] > 0


def test_it_stands_behind_the_worker(process: ProbeProcess, job: ProbeJob) -> None:
    process.run(job, cancelled=_never)
    behind = os.getpriority(os.PRIO_PROCESS, _pid(process)) - os.getpriority(os.PRIO_PROCESS, 0)
    assert behind == min(3, 19 - os.getpriority(os.PRIO_PROCESS, 0))


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"data": b"\x89PNG\r\n\x1a\nnothing"}, "image_broken"),
        ({"max_pixels": 3}, "image_too_large"),
        ({"request": ProbeRequest(label=77)}, "invalid_parameter"),
    ],
)
def test_what_is_wrong_with_a_job_is_said_as_it_would_be_here(
    process: ProbeProcess, job: ProbeJob, changes: dict[str, Any], code: str
) -> None:
    wrong = dataclasses.replace(job, **changes)
    with pytest.raises(Problem) as here:
        wrong.run(cancelled=_never)
    with pytest.raises(Problem) as there:
        process.run(wrong, cancelled=_never)
    assert here.value.code == code
    assert there.value.to_dict() == here.value.to_dict()


def test_a_bundle_that_was_exchanged_is_not_probed(process: ProbeProcess, job: ProbeJob) -> None:
    other = dataclasses.replace(job.model.bundle, sha256="0" * 64)
    with pytest.raises(Problem) as refused:
        process.run(
            dataclasses.replace(job, model=dataclasses.replace(job.model, bundle=other)), cancelled=_never
        )
    assert refused.value.code == "model_unavailable" and "colors/1" in refused.value.detail
    assert str(job.model.bundle.path.parents[1]) not in refused.value.detail


def test_a_model_is_got_ready_and_forgotten(process: ProbeProcess, job: ProbeJob, tmp_path: Path) -> None:
    bundle = write_color_bundle(tmp_path)
    this = dataclasses.replace(job, model=dataclasses.replace(job.model, bundle=bundle))
    process.load(bundle)
    bundle.file(GRADIENT).unlink()
    # From memory, for it was got ready while it was whole.
    assert process.run(this, cancelled=_never)["verdict"] == "flipped"

    process.forget(bundle)
    for attempt in (lambda: process.load(bundle), lambda: process.run(this, cancelled=_never)):
        with pytest.raises(Problem, match=r"gradient\.onnx is missing") as refused:
            attempt()
        assert refused.value.code == "model_unavailable"


def test_models_come_and_go_while_a_probe_goes_on(
    process: ProbeProcess, job: ProbeJob, tmp_path: Path
) -> None:
    begun, gone = threading.Event(), threading.Event()
    endless = dataclasses.replace(job, request=ENDLESS)
    with ThreadPoolExecutor(1) as pool:
        probing = pool.submit(process.run, endless, cancelled=gone.is_set, progress=lambda _: begun.set())
        try:
            assert begun.wait(60)
            bundle = write_color_bundle(tmp_path, version="2")
            process.load(bundle)
            with pytest.raises(Problem, match="is not the bundle any more"):
                process.load(dataclasses.replace(bundle, sha256="0" * 64))
            # The very model that the probe is busy with.
            process.forget(job.model.bundle)
            process.load(job.model.bundle)
            assert not probing.done()
        finally:
            gone.set()
        assert probing.result(60)["certificate"]["finished"] is False
    bundle.file(GRADIENT).unlink()
    second = dataclasses.replace(job, model=dataclasses.replace(job.model, bundle=bundle))
    assert process.run(second, cancelled=_never)["verdict"] == "flipped"


def test_a_process_that_dies_while_it_loads_is_said_and_replaced(
    process: ProbeProcess, job: ProbeJob
) -> None:
    process.run(job, cancelled=_never)
    os.kill(_pid(process), signal.SIGSTOP)
    _until_stopped(_pid(process))
    killing = threading.Timer(0.2, os.kill, (_pid(process), signal.SIGKILL))
    killing.start()
    with pytest.raises(Problem) as ended:
        process.load(job.model.bundle)
    killing.join()
    assert ended.value.code == "engine_failed"
    process.load(job.model.bundle)


def _until_stopped(pid: int) -> None:
    # Told to stop, each thread still ends its turn: on a busy machine one of them could answer meanwhile.
    states = [thread / "stat" for thread in Path(f"/proc/{pid}/task").iterdir()]
    until = time.monotonic() + 60
    while any(state.read_text().rpartition(")")[2].split()[0] != "T" for state in states):
        assert time.monotonic() < until, "the process does not stop"
        time.sleep(0.01)


def test_nobody_waits_for_a_cancelled_probe(process: ProbeProcess, job: ProbeJob) -> None:
    gone = threading.Event()
    endless = dataclasses.replace(job, request=ENDLESS)
    report = process.run(endless, cancelled=gone.is_set, progress=lambda state: gone.set())
    assert report["certificate"]["finished"] is False
    assert process.run(job, cancelled=_never)["verdict"] == "flipped"


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_the_settings_of_any_server_reach_it(models_dir: Path, job: ProbeJob, workers: int) -> None:
    process = ProbeProcess(Settings(models_dir=models_dir, engine="cpu", workers=workers))
    assert process.run(job, cancelled=_never)["verdict"] == "flipped"
    process.close()


def test_many_open_files_are_no_obstacle(models_dir: Path, job: ProbeJob) -> None:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit[1] < 2000:
        pytest.skip("fewer files may be open here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(limit[0], 2000), limit[1]))
    files = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    process = ProbeProcess(Settings(models_dir=models_dir, engine="cpu"))
    try:
        assert process.run(job, cancelled=_never)["verdict"] == "flipped"
    finally:
        process.close()
        for file in files:
            os.close(file)
        resource.setrlimit(resource.RLIMIT_NOFILE, limit)
