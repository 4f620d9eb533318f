"""The values of metrics on a disk that is full: no worker ends, and what has room is told as before."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client import values
from prometheus_client.parser import text_string_to_metric_families

from serving.observing import metrics as metrics_module
from serving.observing.metric_values import FIRST_BYTES
from serving.observing.metrics import MULTIPROCESS_VARIABLE, Metrics, keep_to_this_server
from serving.observing.request_log import LOGGER
from serving.shared_folder import VARIABLE
from tests.serving.conftest import ROOT

SERIES = 1200
"""More counters than the first room of a file is for."""
FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Path]:
    """Does what a worker does before it makes its metrics; the folder of their files."""
    monkeypatch.setenv(MULTIPROCESS_VARIABLE, str(tmp_path / "everybody"))
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    monkeypatch.setattr(values, "ValueClass", values.ValueClass)
    monkeypatch.setattr(metrics_module, "configure_logging", lambda: None)

    def starting() -> Path:
        keep_to_this_server()
        return Path(os.environ[MULTIPROCESS_VARIABLE])

    return starting


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The messages that were logged."""
    messages: list[str] = []

    class Listening(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            messages.append(record.getMessage())

    monkeypatch.setattr(logging.getLogger(LOGGER), "handlers", [Listening()])
    return messages


def _fill_up(monkeypatch: pytest.MonkeyPatch, *, room: int = 0) -> pytest.MonkeyPatch:
    """From now on the disk takes so many bytes at a time, and then none."""
    write, left = os.pwrite, [room]

    def pwrite(descriptor: int, content: bytes, offset: int) -> int:
        if not left[0]:
            raise FULL
        taken = write(descriptor, content[: left[0]], offset)
        left[0] -= taken
        return taken

    monkeypatch.setattr(os, "pwrite", pwrite)
    return monkeypatch


def _counted(metrics: Metrics) -> dict[str, float]:
    families = text_string_to_metric_families(metrics.exposition().decode())
    samples = [sample for family in families for sample in family.samples]
    return {one.labels["route"]: one.value for one in samples if one.name == "clead_requests_total"}


def test_no_file_has_holes_however_many_series_there_are(start: Callable[[], Path]) -> None:
    folder = start()
    metrics = Metrics()
    for number in range(SERIES):
        metrics.requests.labels(route=f"r{number}", status="200").inc()
    for number in range(SERIES):
        metrics.model.labels(name=f"m{number}", version="1", sha256="a" * 64).set(1)
    for number in range(SERIES // 10):
        metrics.seconds.labels(route=f"r{number}").observe(0.1)
    metrics.occupied.labels(lane="classify").set(1)
    files = {file.name.rpartition("_")[0]: file.stat() for file in folder.iterdir()}
    assert files.keys() == {"counter", "histogram", "gauge_livemax", "gauge_livesum"}
    assert all(file.st_blocks * 512 >= file.st_size >= FIRST_BYTES for file in files.values())
    assert min(files[kind].st_size for kind in ("counter", "histogram", "gauge_livemax")) > FIRST_BYTES
    assert files["gauge_livesum"].st_size == FIRST_BYTES
    assert _counted(metrics) == {f"r{number}": 1 for number in range(SERIES)}


@pytest.mark.parametrize("room", [0, 5000])
def test_a_series_without_room_is_left_out_and_the_others_are_told(
    start: Callable[[], Path], told: list[str], monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    folder = start()
    metrics = Metrics()
    metrics.answered("before", 200, 0.1)
    sizes = {file: file.stat().st_size for file in folder.iterdir()}
    with monkeypatch.context() as full:
        _fill_up(full, room=room)
        for number in range(SERIES):
            metrics.requests.labels(route=f"r{number}", status="200").inc()
        metrics.answered("before", 200, 0.1)
        assert {file: file.stat().st_size for file in folder.iterdir()} == sizes
        counted = _counted(metrics)
    assert counted["before"] == 2
    assert 100 < len(counted) < SERIES
    assert told == [f"new series are left out of the metrics: {FULL}"]
    metrics.answered("after", 200, 0.1)
    assert _counted(metrics)["after"] == 1


@pytest.mark.parametrize("room", [0, 3 * FIRST_BYTES, 3 * FIRST_BYTES + 5000])
def test_a_worker_that_starts_without_room_keeps_its_metrics_to_itself(
    start: Callable[[], Path], told: list[str], monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    _fill_up(monkeypatch, room=room)
    folder = start()
    metrics = Metrics()
    metrics.answered("alone", 200, 0.1)
    assert list(folder.iterdir()) == []
    assert len(told) == 1
    assert "this worker keeps its metrics to itself" in told[0] and str(FULL) in told[0]
    assert _counted(metrics) == {"alone": 1}


def test_a_worker_without_room_tells_what_the_others_have_counted(
    start: Callable[[], Path], told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = start()
    Metrics().answered("other", 200, 0.1)
    for file in folder.iterdir():
        # Of a process that runs, and is not this one.
        file.rename(file.with_stem(f"{file.stem.rpartition('_')[0]}_{os.getppid()}"))
    _fill_up(monkeypatch)
    start()
    metrics = Metrics()
    metrics.answered("alone", 200, 0.1)
    assert _counted(metrics) == {"other": 1}
    assert len(told) == 1


@pytest.mark.skipif(shutil.which("unshare") is None, reason="a disk of its own is made with unshare")
def test_a_process_on_a_full_disk_counts_on(tmp_path: Path) -> None:
    mounting = [
        "unshare",
        "-rm",
        "sh",
        "-c",
        f'mount -t tmpfs -o size=1m tmpfs "{tmp_path}" && exec "$@"',
        "sh",
    ]
    if subprocess.run([*mounting, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no disk can be mounted here")
    program = (
        f"from tests.serving.test_metric_values import count_on_a_full_disk as run; run({str(tmp_path)!r})"
    )
    environment = os.environ | {MULTIPROCESS_VARIABLE: str(tmp_path / "everybody"), VARIABLE: str(tmp_path)}
    process = subprocess.run(
        [*mounting, sys.executable, "-c", program], cwd=ROOT, env=environment, check=False
    )
    assert process.returncode == 0


def count_on_a_full_disk(disk: str) -> None:
    """Makes metrics, fills the disk that their files are on, and counts on."""
    keep_to_this_server()
    metrics = Metrics()
    with (Path(disk) / "filling").open("wb", buffering=0) as filling:
        try:
            while filling.write(bytes(4096)):
                pass
        except OSError as error:
            assert error.errno == errno.ENOSPC
    for number in range(SERIES):
        metrics.requests.labels(route=f"r{number}", status="200").inc()
    assert 100 < len(_counted(metrics)) < SERIES
