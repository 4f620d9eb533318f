"""What keeps the server from starting, and how it starts otherwise."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from serving.client import Client, ServerProblem
from tests.serving import pictures
from tests.serving.asking import ask
from tests.serving.conftest import ROOT, Server, clean_environment, free_port, running_server


def _refusal(home: Path, models_dir: Path, *options: str, **settings: str) -> str:
    """What `bentoml serve` prints when it refuses; it must end by itself."""
    home.mkdir(exist_ok=True)
    variables = {"CLEAD_MODELS_DIR": str(models_dir), "CLEAD_PORT": str(free_port()), **settings}
    done = subprocess.run(
        [sys.executable, "-m", "bentoml", "serve", *options],
        cwd=ROOT,
        env=clean_environment(home, variables),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    return done.stderr


def test_an_unknown_setting_refuses(tmp_path: Path, models_dir: Path) -> None:
    assert "CLEAD_PROT (did you mean CLEAD_PORT?)" in _refusal(tmp_path, models_dir, CLEAD_PROT="1")


def test_a_public_address_without_keys_refuses(tmp_path: Path, models_dir: Path) -> None:
    by_option = _refusal(tmp_path, models_dir, "--host", "0.0.0.0")
    by_setting = _refusal(tmp_path, models_dir, CLEAD_HOST="0.0.0.0")

    for message in (by_option, by_setting):
        assert "0.0.0.0 without keys" in message
        assert "CLEAD_ALLOW_PUBLIC" in message


def test_a_damaged_bundle_refuses_and_names_the_file(tmp_path: Path, models_dir: Path) -> None:
    damaged = tmp_path / "models"
    shutil.copytree(models_dir, damaged)
    graph = damaged / "colors" / "1" / "gradient.onnx"
    data = bytearray(graph.read_bytes())
    data[-1] ^= 1
    graph.write_bytes(data)

    assert "gradient.onnx is damaged" in _refusal(tmp_path / "home", damaged)


def test_a_missing_model_refuses_and_names_those_there_are(tmp_path: Path, models_dir: Path) -> None:
    message = _refusal(tmp_path, models_dir, CLEAD_DEFAULT_MODEL="cats")

    assert "'cats'" in message
    assert "colors/1" in message


def test_a_strict_engine_refuses_a_slower_one(tmp_path: Path, models_dir: Path) -> None:
    # TensorRT's libraries are no dependency of the tests, so wherever they run something slower would.
    message = _refusal(tmp_path, models_dir, CLEAD_ENGINE="tensorrt", CLEAD_ENGINE_STRICT="1")

    assert "strict" in message


def _ready_workers(client: Client) -> set[int]:
    """The workers that answer, once those asked are all ready: one of them is before the other."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return {client.ready()["worker"] for _ in range(20)}
        except ServerProblem as problem:
            if problem.code != "not_ready" or time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def _metrics_until(server: Server, key: str, patterns: Iterable[str]) -> None:
    """Asks for the metrics until they show these; each worker counts a moment later."""
    deadline = time.monotonic() + 30
    while True:
        metrics = ask(server.port, "GET", "/metrics", headers={"X-API-Key": key}).body.decode()
        if all(re.search(pattern, metrics) for pattern in patterns):
            return
        assert time.monotonic() < deadline, metrics
        time.sleep(0.05)


def test_two_workers_with_keys_count_together(tmp_path: Path, models_dir: Path) -> None:
    key = "correct horse"
    settings = {
        "CLEAD_MODELS_DIR": str(models_dir),
        "CLEAD_WORKERS": "2",
        "CLEAD_KEYS": hashlib.sha256(key.encode()).hexdigest(),
        "CLEAD_PROBE": "0",
    }
    # A bare `bentoml serve` finds the service through bentofile.yaml.
    with running_server(tmp_path / "home", settings, target=".") as server:
        client = Client(server.url, key=key)
        workers = _ready_workers(client)
        assert client.ready()["workers"] == 2
        assert server.process.pid not in workers
        assert all(Path(f"/proc/{worker}").exists() for worker in workers)
        for _ in range(20):
            assert client.classify(pictures.plain()).predictions[0].label == "red"
        with pytest.raises(ServerProblem) as caught:
            server.client.classify(pictures.plain())
        assert caught.value.code == "unauthorized"
        with pytest.raises(ServerProblem) as caught:
            client.probe(pictures.plain())
        assert caught.value.code == "probe_disabled"
        _metrics_until(
            server,
            key,
            (r'clead_requests_total\{route="classify",status="200"\} 20\.0', r"clead_images_total 20\.0"),
        )
