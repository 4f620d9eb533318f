"""The Triton engine over real gRPC: right answers, and clear errors for whatever a server may do."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
import pytest

from engines.engine import EngineError
from engines.load import EngineOptions, load_engine
from engines.triton import TritonEngine
from export.bundle import Bundle, load_bundle
from export.triton_repository import write_triton_repository
from tests.engines.triton_server import Behaviour, triton_server
from tests.export.linear_bundle import SIDE, class_weights, write_linear_bundle

MAX_BATCH = 4


@pytest.fixture
def behaviour() -> Behaviour:
    return Behaviour()


@pytest.fixture
def repository(bundle: Bundle, tmp_path: Path) -> Path:
    write_triton_repository(bundle, tmp_path / "repository", max_batch=MAX_BATCH)
    return tmp_path / "repository"


@pytest.fixture
def url(repository: Path, behaviour: Behaviour) -> Iterator[str]:
    with triton_server(repository, behaviour) as address:
        yield address


def images(count: int, seed: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).random((count, 3, SIDE, SIDE)).astype(np.float32)


def test_it_is_loaded_and_checked_against_the_sample(bundle: Bundle, url: str) -> None:
    engine = load_engine(bundle, EngineOptions(engine="triton", triton_url=url))
    info = engine.describe()
    assert (info.engine, info.device, info.version) == ("triton", url, "2.65.0")
    engine.close()


def test_the_deadline_of_a_call_is_that_of_the_options_once_it_has_started(
    bundle: Bundle, url: str, behaviour: Behaviour
) -> None:
    # Too short for the check, if it held there.
    engine = load_engine(bundle, EngineOptions(engine="triton", triton_url=url, deadline=0.001))
    behaviour.hang = threading.Event()
    with pytest.raises(EngineError, match="DEADLINE_EXCEEDED"):
        engine.logits(images(1))
    engine.close()


@pytest.mark.parametrize("count", [0, 1, 3, 11])
def test_answers_in_batches_that_the_server_takes(
    bundle: Bundle, url: str, behaviour: Behaviour, count: int
) -> None:
    engine = TritonEngine(bundle, url=url)
    batch, labels = images(count), np.arange(count) % 4
    expected = batch.reshape(count, 3 * SIDE * SIDE) @ class_weights()
    np.testing.assert_allclose(engine.logits(batch), expected, rtol=1e-5, atol=1e-5)
    answer = engine.gradient(batch, labels, np.full(count, -1), np.zeros(count, np.int64))
    np.testing.assert_allclose(answer.logits, expected, rtol=1e-5, atol=1e-5)
    assert answer.value.shape == (count,)
    np.testing.assert_allclose(answer.value, -expected[np.arange(count), labels], rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(answer.gradient, -class_weights()[:, labels].T.reshape(batch.shape))
    sizes = [size for model, size in behaviour.batches if model == "linear"]
    assert sum(sizes) == count
    assert all(size <= MAX_BATCH for size in sizes)
    assert sum(size for model, size in behaviour.batches if model == "linear-gradient") == count
    engine.close()


def test_threads_share_one_engine(bundle: Bundle, url: str) -> None:
    engine = TritonEngine(bundle, url=url)
    batches = [images(3, seed) for seed in range(24)]
    with ThreadPoolExecutor(max_workers=6) as pool:
        answers = list(pool.map(engine.logits, batches))
    for batch, answer in zip(batches, answers, strict=True):
        np.testing.assert_allclose(answer, batch.reshape(3, -1) @ class_weights(), rtol=1e-5, atol=1e-5)
    engine.close()


def test_another_version_is_not_served(tmp_path: Path, url: str) -> None:
    other = write_linear_bundle(tmp_path / "models", version="2")
    with pytest.raises(EngineError, match=r"does not serve linear version 2.*clead triton-repository"):
        TritonEngine(other, url=url)


def test_another_bundle_under_the_same_name_is_noticed(tmp_path: Path, bundle: Bundle, url: str) -> None:
    manifest = bundle.file("manifest.json")
    manifest.write_bytes(manifest.read_bytes() + b"\n")
    with pytest.raises(EngineError, match="serves another linear version 1"):
        TritonEngine(load_bundle(bundle.path), url=url)


def test_no_server_there(bundle: Bundle) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(EngineError, match=f"Triton at {address} failed"):
            TritonEngine(bundle, url=address, deadline=5.0)


def test_a_failing_server_is_an_engine_error(bundle: Bundle, url: str, behaviour: Behaviour) -> None:
    engine = TritonEngine(bundle, url=url)
    behaviour.failure = grpc.StatusCode.INTERNAL
    with pytest.raises(EngineError, match="told to fail"):
        engine.logits(images(1))
    behaviour.failure = None
    assert engine.logits(images(1)).shape == (1, 4)
    engine.close()


def test_a_call_ends_at_its_deadline(bundle: Bundle, url: str, behaviour: Behaviour) -> None:
    engine = TritonEngine(bundle, url=url, deadline=0.5)
    behaviour.hang = threading.Event()
    with pytest.raises(EngineError, match="DEADLINE_EXCEEDED"):
        engine.logits(images(1))
    behaviour.hang.set()
    engine.close()


def test_a_missing_output_is_an_engine_error(bundle: Bundle, url: str, behaviour: Behaviour) -> None:
    engine = TritonEngine(bundle, url=url)
    behaviour.forget_output = True
    with pytest.raises(EngineError, match=r"without \['logits'\]"):
        engine.logits(images(1))
    engine.close()


def test_an_answer_without_its_values_is_an_engine_error(
    bundle: Bundle, url: str, behaviour: Behaviour
) -> None:
    """What a python backend that was made for NumPy 1 does with NumPy 2."""
    engine = TritonEngine(bundle, url=url)
    behaviour.empty_output = True
    with pytest.raises(EngineError, match=r"other values than it announced.*NumPy"):
        engine.logits(images(1))
    engine.close()


def test_a_call_that_finds_no_server_is_repeated(bundle: Bundle, url: str, behaviour: Behaviour) -> None:
    engine = TritonEngine(bundle, url=url)
    behaviour.failures = [grpc.StatusCode.UNAVAILABLE] * 2
    assert engine.logits(images(1)).shape == (1, 4)
    assert behaviour.failures == []
    behaviour.failures = [grpc.StatusCode.UNAVAILABLE] * 4
    with pytest.raises(EngineError, match="UNAVAILABLE"):
        engine.logits(images(1))
    assert len(behaviour.failures) == 1
    engine.close()


def test_no_other_call_is_repeated(bundle: Bundle, url: str, behaviour: Behaviour) -> None:
    engine = TritonEngine(bundle, url=url)
    behaviour.failures = [grpc.StatusCode.INTERNAL]
    with pytest.raises(EngineError, match="told to fail"):
        engine.logits(images(1))
    engine.close()


def test_a_server_that_comes_back_is_found(bundle: Bundle, repository: Path, behaviour: Behaviour) -> None:
    with triton_server(repository, behaviour) as url:
        engine = TritonEngine(bundle, url=url)
    for _ in range(4):
        with pytest.raises(EngineError, match="UNAVAILABLE"):
            engine.logits(images(1))
    with triton_server(repository, behaviour, port=int(url.rpartition(":")[2])):
        end = time.monotonic() + 5
        while True:
            try:
                assert engine.logits(images(1)).shape == (1, 4)
                break
            except EngineError:
                assert time.monotonic() < end
    engine.close()


def test_without_the_gradient_model(bundle: Bundle, url: str, repository: Path) -> None:
    """A server of the classifier alone is enough when no gradients are wanted."""
    (repository / "linear-gradient" / "1").rename(repository / "away")
    with pytest.raises(EngineError, match="does not serve linear-gradient"):
        TritonEngine(bundle, url=url)
    engine = TritonEngine(bundle, url=url, with_gradient=False)
    assert engine.logits(images(2)).shape == (2, 4)
    with pytest.raises(EngineError, match="without the gradient model"):
        engine.gradient(images(1), np.array([0]), np.array([-1]), np.array([0]))
    engine.close()
