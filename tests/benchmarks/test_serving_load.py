"""The load benchmark gives all servers the same work, reads wrk rightly, and compares within a round."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import subprocess
import sys
from email import message_from_bytes
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from httpx import ASGITransport, AsyncClient
from PIL import Image

from benchmarks.served_models import REPOSITORY
from benchmarks.server_process import Running
from benchmarks.serving_load.__main__ import RESULTS
from benchmarks.serving_load.contestants import (
    BARE,
    LITSERVE,
    OURS,
    STOCK,
    contestant,
    shared_environment,
)
from benchmarks.serving_load.page import read_measured, write_page
from benchmarks.serving_load.servers.bare_uvicorn import application
from benchmarks.serving_load.servers.work import Work
from benchmarks.serving_load.table import Measured, Row, ceilings, rows
from benchmarks.serving_load.wrk import Load, parse
from engines.load import EngineOptions, load_engine
from export.bundle import load_bundle, resolve_bundle
from serving.classifying.classification import predictions, prepare_all
from serving.models.model import Model

WRK_OUTPUT = """Running 2s test @ http://127.0.0.1:8000/classify
  1 threads and 4 connections
Requests/sec:     50.00

{"requests": 100, "microseconds": 2000000, "median": 1500, "p99": 20000, "failed": 10, "unanswered": 3}
"""


@pytest.fixture
def png() -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def bundle(monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = resolve_bundle(REPOSITORY / "models", "clead-cifar10")
    for name, value in shared_environment(folder, threads=1, workers=1).items():
        monkeypatch.setenv(name, value)
    return folder


def test_every_server_answers_what_ours_does(bundle: Path, png: bytes) -> None:
    loaded = load_bundle(bundle)
    engine = load_engine(loaded, EngineOptions(engine="cpu", threads=1, with_gradient=False))
    model = Model(bundle=loaded, engine=engine, info=engine.describe())
    images = prepare_all([png], model, max_pixels=10_000, late=lambda: False)
    (ours,) = predictions(engine.logits(images), model.classes, top=5)
    wanted = [(one["label"], pytest.approx(one["probability"], rel=1e-5)) for one in ours["top"]]

    work = Work()

    async def ask() -> Any:
        async with AsyncClient(transport=ASGITransport(application()), base_url="http://bare") as client:
            return (await client.post("/classify", content=png)).json()

    bare = asyncio.run(ask())
    for answer in (bare, work.classify(png), *work.classify_batch([png] * 3)):
        assert [(one["label"], one["probability"]) for one in answer["predictions"]] == wanted


@pytest.mark.parametrize("name", [OURS, STOCK, LITSERVE, BARE])
def test_every_server_gets_the_image_itself(bundle: Path, png: bytes, name: str) -> None:
    server = contestant(name, bundle=bundle, image=png, port=1, workers=2, threads=1)
    if server.content_type == "application/json":
        sent = base64.b64decode(json.loads(server.body)["image"])
    elif server.content_type.startswith("multipart/"):
        head = f"Content-Type: {server.content_type}\r\nMIME-Version: 1.0\r\n\r\n".encode()
        (part,) = message_from_bytes(head + server.body).get_payload()  # type: ignore[misc]
        assert part.get_param("name", header="content-disposition") == "image"  # type: ignore[union-attr]
        sent = part.get_payload(decode=True)  # type: ignore[union-attr, assignment]
    else:
        sent = server.body
    assert sent == png
    assert "2" in {*server.environment.values(), *server.command}


def test_what_failed_is_no_answer() -> None:
    assert parse(WRK_OUTPUT, connections=4) == Load(
        connections=4, per_second=45.0, median_ms=1.5, p99_ms=20.0, failed=10, unanswered=3
    )


def _measured(number: int, server: str, per_second: float) -> Measured:
    load = Load(connections=16, per_second=per_second, median_ms=1.0, p99_ms=2.0, failed=1, cpu_ms=0.25)
    return Measured(round=number, server=server, workers=1, loads=(load,))


def test_rates_are_compared_within_a_round() -> None:
    """In the second round the machine was busy for both; a quotient of medians would not be 3."""
    measured = [
        *(_measured(0, OURS, 300.0), _measured(0, STOCK, 100.0)),
        *(_measured(1, OURS, 30.0), _measured(1, STOCK, 10.0)),
        *(_measured(2, OURS, 600.0), _measured(2, STOCK, 90.0)),
        *(Measured(round=number, server="ceiling", workers=1, ceiling=400.0 + number) for number in range(3)),
    ]
    found = {row.server: row for row in rows(measured, reference=STOCK)}
    assert found[OURS] == Row(
        server=OURS,
        workers=1,
        connections=16,
        per_second=300.0,
        median_ms=1.0,
        p99_ms=2.0,
        failed=3,
        cpu_ms=0.25,
        times=3.0,
    )
    assert found[STOCK].times == 1.0
    assert ceilings(measured) == {1: 401.0}


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="counts as Linux does")
def test_processor_time_is_that_of_the_process_and_all_below_it() -> None:
    burn = "import time\nwhile time.process_time() < 0.5: pass"
    wait = "import sys; sys.stdin.read()"
    child = f"import subprocess, sys\nexec({burn!r})\nprint(flush=True)\nexec({wait!r})"
    parent = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {child!r}])"
    with subprocess.Popen(
        [sys.executable, "-c", parent], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdout.readline()
        spent = Running(seconds_to_ready=0.0, pid=process.pid).cpu_seconds()
        process.stdin.close()
    assert 0.45 < spent < 5.0
    assert Running(seconds_to_ready=0.0, pid=process.pid).cpu_seconds() == 0.0


def test_the_page_is_that_of_the_results(tmp_path: Path) -> None:
    write_page(RESULTS, tmp_path)
    page = (tmp_path / "performance.md").read_text(encoding="utf-8")
    assert page == (REPOSITORY / "docs" / "performance.md").read_text(encoding="utf-8")
    for file in RESULTS.glob("*.json"):
        assert f"## Model: {file.stem}" in page
        assert sum(load.failed for one in read_measured(file) for load in one.loads) == 0


def test_the_page_compares_with_as_many_workers_and_connections(tmp_path: Path) -> None:
    def one(server: str, per_second: float, p99_ms: float) -> dict[str, Any]:
        load = {"connections": 16, "per_second": per_second, "median_ms": 1.0, "p99_ms": p99_ms, "failed": 0}
        return {"round": 0, "server": server, "workers": 2, "loads": [load | {"cpu_ms": 100 / per_second}]}

    results = tmp_path / "results"
    results.mkdir()
    figures = [one(OURS, 900.0, 5.0), one(STOCK, 300.0, 50.0), one(BARE, 1000.0, 4.0)]
    figures.append({"round": 0, "server": "ceiling", "workers": 2, "loads": [], "ceiling": 1500.0})
    (results / "tiny.json").write_text(json.dumps({"measured": figures}), encoding="utf-8")
    write_page(results, tmp_path)
    assert "| 2 | 16 | 3.0 | 0.90 | 0.60 | 0.10 | 1.11 |" in (tmp_path / "performance.md").read_text("utf-8")
