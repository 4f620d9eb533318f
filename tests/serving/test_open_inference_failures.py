"""The Open Inference Protocol when the lane is full, time is up, the engine fails, or there is no model."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engines.engine import EngineError
from serving.settings import Settings
from tests.serving.color_bundle import SIDE, write_color_bundle
from tests.serving.in_process import asking, started

INFER = "/v2/models/colors/infer"
TENSOR = {"name": "images", "datatype": "FP32", "shape": [1, 3, SIDE, SIDE], "data": [0.5] * 3 * SIDE * SIDE}
REQUEST = {"inputs": [TENSOR]}


def _problem(reply: Any, status: int, code: str) -> None:
    assert (reply.status_code, reply.json()["code"]) == (status, code)
    assert reply.json()["error"] == reply.json()["detail"]


def test_an_engine_that_fails_or_answers_nonsense(models_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise EngineError("the GPU is gone")

    def nonsense(images: np.ndarray) -> np.ndarray:
        return np.full((len(images), 3), np.nan, np.float32)

    async def scenario() -> None:
        async with started(Settings(models_dir=models_dir)) as (front, runtime), asking(front) as client:
            for logits in (fail, nonsense):
                monkeypatch.setattr(runtime.registry.get(None).engine, "logits", logits)
                reply = await client.post(INFER, json=REQUEST)
                _problem(reply, 503, "engine_failed")
                assert reply.json()["model"]["name"] == "colors"

    asyncio.run(scenario())


def test_a_full_lane_and_a_deadline_are_those_of_classify(
    models_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, release = threading.Event(), threading.Event()

    def wait(images: np.ndarray) -> np.ndarray:
        begun.set()
        release.wait()
        return np.zeros((len(images), 3), np.float32)

    async def scenario() -> None:
        settings = Settings(
            models_dir=models_dir, classify_concurrency=1, classify_queue=0, classify_deadline_ms=500
        )
        async with started(settings) as (front, runtime), asking(front) as client:
            monkeypatch.setattr(runtime.registry.get(None).engine, "logits", wait)
            first = asyncio.create_task(client.post(INFER, json=REQUEST))
            try:
                await asyncio.to_thread(begun.wait)
                _problem(await client.post(INFER, json=REQUEST), 503, "overloaded")
                _problem(await first, 504, "deadline_exceeded")
            finally:
                release.set()

    asyncio.run(scenario())


def test_a_key_that_is_missing_or_not_enough(models_dir: Path) -> None:
    digest = hashlib.sha256(b"probing").hexdigest()

    async def scenario() -> None:
        settings = Settings(models_dir=models_dir, keys=(f"{digest} scope=probe",), probe=False)
        async with started(settings) as (front, _), asking(front) as client:
            for method, path in (("POST", INFER), ("GET", "/v2"), ("GET", "/v2/models/colors")):
                _problem(await client.request(method, path), 401, "unauthorized")
                reply = await client.request(method, path, headers={"X-API-Key": "probing"})
                _problem(reply, 403, "forbidden")
            assert (await client.get("/v2/health/ready")).status_code == 200

    asyncio.run(scenario())


def test_a_server_without_its_model_says_so(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with started(Settings(models_dir=tmp_path)) as (front, _), asking(front) as client:
            assert (await client.get("/v2/health/live")).status_code == 200
            for path in ("/v2/health/ready", "/v2/models/colors/ready"):
                _problem(await client.get(path), 503, "not_ready")
            _problem(await client.post(INFER, json=REQUEST), 503, "not_ready")
            _problem(await client.get("/v2/models/colors"), 404, "model_not_found")

    asyncio.run(scenario())


def test_a_damaged_model_is_listed_as_unavailable_and_is_not_ready(tmp_path: Path) -> None:
    write_color_bundle(tmp_path)
    write_color_bundle(tmp_path, name="damaged")
    (tmp_path / "damaged" / "1" / "classifier.onnx").write_bytes(b"not a graph")

    async def scenario() -> None:
        settings = Settings(models_dir=tmp_path, default_model="colors")
        async with started(settings) as (front, _), asking(front) as client:
            index = (await client.post("/v2/repository/index")).json()
            assert [(model["name"], model["state"]) for model in index] == [
                ("colors", "READY"),
                ("damaged", "UNAVAILABLE"),
            ]
            assert "classifier.onnx" in index[1]["reason"]
            ready = (await client.post("/v2/repository/index", json={"ready": True})).json()
            assert [model["name"] for model in ready] == ["colors"]
            _problem(await client.get("/v2/models/damaged/ready"), 503, "model_unavailable")
            assert (await client.get("/v2/models/colors/ready")).json()["ready"] is True

    asyncio.run(scenario())
