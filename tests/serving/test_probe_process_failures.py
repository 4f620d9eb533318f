"""A process for probes that dies, hangs, is stopped, or meets a mistake on the other side of the pipe."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from probes.request import ProbeRequest
from serving.probing import process as probe_process
from serving.probing.frames import write_frame
from serving.probing.job import ProbeJob
from serving.probing.process import ProbeProcess
from serving.probing.processes import ProbeProcesses
from serving.problems import Problem
from serving.settings import Settings
from tests.serving import pictures
from tests.serving.asking import ask
from tests.serving.conftest import ROOT, Server

REDDISH = pictures.plain((140, 100, 60))
REQUEST = ProbeRequest(eps=(0.01, 0.2), steps=5, restarts=1, include=frozenset({"adversarial"}))
ENDLESS = ProbeRequest(steps=200, restarts=20, certify=True, certify_samples=10_000_000)


def _pid(process: ProbeProcess) -> int:
    assert process.pid is not None
    return process.pid


def _never() -> bool:
    return False


def _during(process: ProbeProcess, job: ProbeJob, action: Callable[[], None]) -> Problem:
    """Runs a probe without an end, does `action` once it is under way, and returns how the probe ended."""
    acted = threading.Event()

    def act(_: Mapping[str, Any]) -> None:
        if not acted.is_set():
            acted.set()
            action()

    with pytest.raises(Problem) as ended:
        process.run(dataclasses.replace(job, request=ENDLESS), cancelled=acted.is_set, progress=act)
    return ended.value


def test_a_process_that_dies_ends_its_probe_and_is_replaced(process: ProbeProcess, job: ProbeJob) -> None:
    process.run(job, cancelled=_never)
    first = _pid(process)
    assert _during(process, job, lambda: os.kill(first, signal.SIGKILL)).code == "engine_failed"
    assert process.run(job, cancelled=_never)["verdict"] == "flipped"
    assert _pid(process) != first


def test_a_process_that_died_while_idle_is_replaced_unnoticed_by_the_client(
    process: ProbeProcess, job: ProbeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    replaced: list[None] = []
    monkeypatch.setattr(process, "_on_end", lambda: replaced.append(None))
    process.run(job, cancelled=_never)
    first = _pid(process)
    os.kill(first, signal.SIGKILL)
    os.waitid(os.P_PID, first, os.WEXITED | os.WNOWAIT)
    assert process.run(job, cancelled=_never)["verdict"] == "flipped"
    assert replaced == [None]


def test_a_process_that_does_not_stop_is_killed(
    process: ProbeProcess, job: ProbeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe_process, "KILL_S", 0.1)
    process.run(job, cancelled=_never)
    first = _pid(process)
    assert _during(process, job, lambda: os.kill(first, signal.SIGSTOP)).code == "engine_failed"
    with pytest.raises(ProcessLookupError):
        os.kill(first, 0)


def test_processes_that_are_closed_start_no_others(models_dir: Path, job: ProbeJob) -> None:
    processes = ProbeProcesses(Settings(models_dir=models_dir, engine="cpu"), count=2)
    ended: list[Problem] = []

    def run() -> None:
        try:
            processes.run(dataclasses.replace(job, request=ENDLESS), cancelled=_never, progress=under_way)
        except Problem as problem:
            ended.append(problem)

    started = threading.Event()

    def under_way(_: Mapping[str, Any]) -> None:
        started.set()

    thread = threading.Thread(target=run)
    thread.start()
    assert started.wait(60)
    processes.close()
    thread.join(60)
    assert [problem.code for problem in ended] == ["engine_failed"]
    with pytest.raises(Problem):
        ProbeProcesses.run(processes, job, cancelled=_never)


def test_one_that_is_stopped_while_it_starts_does_not_run(models_dir: Path, job: ProbeJob) -> None:
    process = ProbeProcess(Settings(models_dir=models_dir, engine="cpu"))
    real = subprocess.Popen

    def stopping(*arguments: Any, **options: Any) -> Any:
        process.stop()
        return real(*arguments, **options)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Problem):
        patch.setattr(subprocess, "Popen", stopping)
        process.run(job, cancelled=_never)
    assert process.pid is None


def test_what_goes_wrong_on_this_side_leaves_no_answer_for_the_next(
    process: ProbeProcess, job: ProbeJob
) -> None:
    def wrong(_: Mapping[str, Any]) -> None:
        raise ValueError("a mistake")

    with pytest.raises(ValueError, match="a mistake"):
        process.run(job, cancelled=_never, progress=wrong)
    with pytest.raises(Problem) as broken:
        process.run(dataclasses.replace(job, data=b"\x89PNG\r\n\x1a\nnothing"), cancelled=_never)
    assert broken.value.code == "image_broken"


def test_a_job_that_ends_its_process_is_not_done_again(models_dir: Path, job: ProbeJob) -> None:
    replaced: list[None] = []
    process = ProbeProcess(
        Settings(models_dir=models_dir, engine="cpu"), on_end=lambda: replaced.append(None)
    )
    process.run(job, cancelled=_never)
    first = _pid(process)
    ended = _during(process, job, lambda: os.kill(first, signal.SIGKILL))
    assert ended.code == "engine_failed"
    assert replaced == [None] and process.pid is None


def test_a_stopped_process_and_a_large_upload_do_not_hold_the_thread(
    models_dir: Path, job: ProbeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody reads the upload, which does not fit into the pipe, so writing it does not end."""
    monkeypatch.setattr(probe_process, "KILL_S", 0.2)
    monkeypatch.setattr(probe_process, "GRACE_S", 0.2)
    process = ProbeProcess(Settings(models_dir=models_dir, engine="cpu"))
    process.run(job, cancelled=_never)
    first = _pid(process)
    os.kill(first, signal.SIGSTOP)
    large = dataclasses.replace(job, data=job.data + b"0" * 300_000, deadline=time.monotonic())
    with contextlib.suppress(Problem):
        process.run(large, cancelled=_never)
    with pytest.raises(ProcessLookupError):
        os.kill(first, 0)
    process.close()


def test_it_ignores_signals_meant_for_the_worker_and_ends_when_the_worker_does(models_dir: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-m", "serving.probing.worker"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with child:
        assert child.stdin is not None and child.stdout is not None
        write_frame(
            child.stdin.fileno(), {"settings": Settings(models_dir=models_dir).model_dump(mode="json")}
        )
        job = {"kind": "probe", "bundle": str(models_dir / "none" / "1"), "sha256": ""}
        write_frame(child.stdin.fileno(), job)
        # Its first answer shows that it has set itself up.
        assert child.stdout.read(1)
        for name in (signal.SIGINT, signal.SIGTERM):
            child.send_signal(name)
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(0.5)
        child.stdin.close()
        assert child.wait(30) == 0


def _runs(pid: int) -> bool:
    """Whether any of its threads does: the first may be gone before the others."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        return state != "Z" or len(list(Path(f"/proc/{pid}/task").iterdir())) > 1
    except OSError:
        return False


def test_a_server_survives_the_death_of_its_prober(server: Server) -> None:
    def probe() -> int:
        return ask(server.port, "POST", "/probe?eps=0.2&steps=3", REDDISH, "image/png").status

    assert probe() == 200
    found = subprocess.run(
        ["pgrep", "-f", "serving.probing.worker"], capture_output=True, text=True, check=True
    )
    ours = [
        int(pid)
        for pid in found.stdout.split()
        if f"CLEAD_PORT={server.port}".encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    ]
    assert len(ours) == 1
    os.kill(ours[0], signal.SIGKILL)
    while _runs(ours[0]):
        time.sleep(0.01)
    assert ask(server.port, "POST", "/classify", pictures.plain(), "image/png").status == 200
    assert probe() == 200
