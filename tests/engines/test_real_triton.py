"""A real Triton server with the repository for its python backend: the engine and the HTTP server agree with
the bundle on it, and live through its absence.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from engines.engine import EngineError
from engines.load import EngineOptions, load_engine
from engines.triton import TritonEngine
from export.bundle import Bundle
from export.triton_repository import write_triton_repository
from tests.engines.real_triton import real_triton, triton_packages
from tests.export.linear_bundle import SIDE, class_weights
from tests.serving import pictures
from tests.serving.asking import ask
from tests.serving.color_bundle import write_color_bundle
from tests.serving.conftest import free_port, running_server

MAX_BATCH = 4
# Each instance waits until it has met another one. Images of zeros are Triton's own, to warm up with.
MEETING = """
import os, time
alone = TritonPythonModel.execute

def meeting(self, requests):
    folder = Path({folder!r})
    if triton.get_input_tensor_by_name(requests[0], "images").as_numpy().any():
        (folder / str(os.getpid())).touch()
        until = time.monotonic() + 30
        while len(list(folder.iterdir())) < 2:
            assert time.monotonic() < until, "no other instance came"
            time.sleep(0.01)
    return alone(self, requests)

TritonPythonModel.execute = meeting
"""


def write(bundle: Bundle, repository: Path, packages: Path) -> None:
    write_triton_repository(bundle, repository, max_batch=MAX_BATCH, backend="python", packages=packages)


@pytest.fixture
def port(bundle: Bundle, tmp_path: Path) -> Iterator[int]:
    write(bundle, tmp_path / "repository", triton_packages())
    port = free_port()
    with real_triton(tmp_path / "repository", port=port, log=tmp_path / "triton.log"):
        yield port


def test_it_computes_what_was_exported(bundle: Bundle, port: int) -> None:
    engine = load_engine(bundle, EngineOptions(engine="triton", triton_url=f"127.0.0.1:{port}"))
    batch = np.random.default_rng(5).random((11, 3, SIDE, SIDE)).astype(np.float32)
    labels, targets, losses = np.arange(11) % 4, np.full(11, -1), np.zeros(11, np.int64)
    expected = batch.reshape(11, -1) @ class_weights()
    np.testing.assert_allclose(engine.logits(batch), expected, rtol=1e-5, atol=1e-5)
    answer = engine.gradient(batch, labels, targets, losses)
    np.testing.assert_allclose(answer.value, -expected[np.arange(11), labels], rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(answer.gradient, -class_weights()[:, labels].T.reshape(batch.shape))

    def ask_for(rows: slice) -> np.ndarray:
        return engine.gradient(batch[rows], labels[rows], targets[rows], losses[rows]).gradient

    # Requests that wait are answered from one batch: each must get its own rows back.
    pieces = [slice(start, start + size) for size in (1, 2, 3) for start in range(11 - size)] * 4
    with ThreadPoolExecutor(max_workers=8) as pool:
        for rows, gradient in zip(pieces, pool.map(ask_for, pieces), strict=True):
            np.testing.assert_array_equal(gradient, answer.gradient[rows])
    engine.close()


def test_two_classifications_are_computed_at_the_same_time(bundle: Bundle, tmp_path: Path) -> None:
    write(bundle, tmp_path / "repository", triton_packages())
    (tmp_path / "met").mkdir()
    with (tmp_path / "repository" / "linear" / "1" / "model.py").open("a") as source:
        source.write(MEETING.format(folder=str(tmp_path / "met")))
    port = free_port()
    # Two of them fit in no batch together.
    batch = np.ones((MAX_BATCH, 3, SIDE, SIDE), np.float32)
    with (
        real_triton(tmp_path / "repository", port=port, log=tmp_path / "triton.log"),
        ThreadPoolExecutor(2) as pool,
    ):
        engine = TritonEngine(bundle, url=f"127.0.0.1:{port}", deadline=60.0)
        for logits in pool.map(engine.logits, [batch, batch]):
            np.testing.assert_allclose(logits, batch.reshape(MAX_BATCH, -1) @ class_weights(), rtol=1e-5)
        engine.close()


def test_a_failing_run_is_an_error_and_not_an_end(bundle: Bundle, port: int) -> None:
    engine = TritonEngine(bundle, url=f"127.0.0.1:{port}")
    images = np.zeros((1, 3, SIDE, SIDE), np.float32)
    # The engine itself refuses such a label.
    feed = {"images": images} | {name: np.full((1, 1), 99) for name in ("label", "target", "loss")}
    with pytest.raises(EngineError, match="ONNX Runtime failed"):
        engine._infer("linear-gradient", ("gradient",), feed)
    assert (
        engine.gradient(images, np.array([0]), np.array([-1]), np.array([0])).gradient.shape == images.shape
    )
    engine.close()


def test_a_server_uses_it_and_outlives_it(tmp_path: Path) -> None:
    bundle = write_color_bundle(tmp_path / "models")
    write(bundle, tmp_path / "repository", triton_packages())
    port = free_port()
    triton = {"repository": tmp_path / "repository", "port": port, "log": tmp_path / "triton.log"}
    settings = {
        "CLEAD_MODELS_DIR": str(tmp_path / "models"),
        "CLEAD_ENGINE": "triton",
        "CLEAD_TRITON_URL": f"127.0.0.1:{port}",
    }
    # Red leads by 10 of 255 values, so a perturbation of 8 each way flips it.
    image = pictures.plain((200, 190, 10))
    probe = "/probe?eps=8/255"
    with running_server(tmp_path / "home", settings, path="/livez") as server:

        def post(path: str) -> tuple[int, dict[str, object]]:
            reply = ask(server.port, "POST", path, image, "image/png")
            return reply.status, reply.json

        def until_200(path: str) -> dict[str, object]:
            deadline = time.monotonic() + 120
            while True:
                status, answer = post(path)
                if status == 200:
                    return answer
                # Not there yet, or there and still loading.
                assert status in (503, 504) and time.monotonic() < deadline, answer
                time.sleep(0.2)

        def check() -> None:
            predictions = until_200("/classify")["predictions"]
            assert isinstance(predictions, list) and predictions[0]["label"] == "red"
            assert until_200(probe)["verdict"] == "flipped"

        with real_triton(**triton):
            check()
        assert [post(path)[0] for path in ("/classify", probe)] == [503, 503]
        assert post("/classify")[1]["code"] == "engine_failed"
        with real_triton(**triton):
            check()
