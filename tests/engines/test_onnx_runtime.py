"""The ONNX Runtime engine: right answers, any batch, clear refusals, several threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from engines.engine import EngineError
from engines.onnx_runtime import OnnxRuntimeEngine
from engines.sessions import CPU, SessionSettings
from export.bundle import Bundle
from tests.export.linear_bundle import SIDE, VALUES, class_weights


def images(count: int, seed: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).random((count, 3, SIDE, SIDE)).astype(np.float32)


@pytest.mark.parametrize("count", [0, 1, 3, 17])
@pytest.mark.parametrize("max_batch", [1, 4, 256])
def test_any_batch_size(bundle: Bundle, count: int, max_batch: int) -> None:
    engine = OnnxRuntimeEngine(bundle, settings=SessionSettings(max_batch=max_batch))
    batch, labels = images(count), np.arange(count) % 4
    expected = batch.reshape(count, VALUES) @ class_weights()
    logits = engine.logits(batch)
    assert logits.shape == (count, 4)
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-5)
    answer = engine.gradient(batch, labels, np.full(count, -1), np.zeros(count, np.int64))
    np.testing.assert_allclose(answer.logits, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(answer.value, -expected[np.arange(count), labels], rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(answer.gradient, -class_weights()[:, labels].T.reshape(batch.shape))


def test_threads_share_one_engine(bundle: Bundle) -> None:
    engine = OnnxRuntimeEngine(bundle)
    batches = [images(5, seed) for seed in range(40)]
    with ThreadPoolExecutor(max_workers=8) as pool:
        answers = list(pool.map(engine.logits, batches))
    for batch, answer in zip(batches, answers, strict=True):
        np.testing.assert_allclose(answer, batch.reshape(5, -1) @ class_weights(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "wrong",
    [
        images(2).astype(np.float64),
        images(2)[0],
        images(2)[:, :1],
        images(2)[:, :, :-1],
        (images(2) * 255).astype(np.uint8),
        [[1.0, 2.0]],
    ],
)
def test_other_images_are_refused(bundle: Bundle, wrong: object) -> None:
    engine = OnnxRuntimeEngine(bundle)
    with pytest.raises(ValueError, match=r"takes float32\[N, 3, 4, 4\]"):
        engine.logits(wrong)


@pytest.mark.parametrize(
    ("labels", "targets", "losses", "name"),
    [
        ([0, 4], [-1, -1], [0, 0], "labels"),
        ([0, -1], [-1, -1], [0, 0], "labels"),
        ([0, 1], [-2, -1], [0, 0], "targets"),
        ([0, 1], [4, -1], [0, 0], "targets"),
        ([0, 1], [-1, -1], [0, 3], "losses"),
        ([0], [-1, -1], [0, 0], "labels"),
        ([0.0, 1.0], [-1, -1], [0, 0], "labels"),
    ],
)
def test_wrong_numbers_are_refused(
    bundle: Bundle, labels: list[float], targets: list[int], losses: list[int], name: str
) -> None:
    engine = OnnxRuntimeEngine(bundle)
    with pytest.raises(ValueError, match=name):
        engine.gradient(images(2), np.array(labels), np.array(targets), np.array(losses))


def test_without_the_gradient_graph(bundle: Bundle) -> None:
    engine = OnnxRuntimeEngine(bundle, with_gradient=False)
    assert engine.logits(images(2)).shape == (2, 4)
    with pytest.raises(EngineError, match="without the gradient graph"):
        engine.gradient(images(1), np.array([0]), np.array([-1]), np.array([0]))


def test_it_says_what_runs(bundle: Bundle) -> None:
    info = OnnxRuntimeEngine(bundle, settings=SessionSettings(reason="no GPU", unused_gpu=True)).describe()
    assert (info.engine, info.provider, info.device) == ("onnxruntime", CPU, "cpu")
    assert (info.reason, info.unused_gpu) == ("no GPU", True)


def test_a_graph_that_does_not_load_is_named(bundle: Bundle) -> None:
    bundle.file("gradient.onnx").write_bytes(b"not a graph")
    with pytest.raises(EngineError, match=r"does not load gradient\.onnx"):
        OnnxRuntimeEngine(bundle)


def test_missing_weights_are_an_engine_error(bundle: Bundle) -> None:
    bundle.file("weights.safetensors").unlink()
    with pytest.raises(EngineError, match=r"does not load classifier\.onnx"):
        OnnxRuntimeEngine(bundle)


@pytest.mark.parametrize("settings", [{"providers": ()}, {"threads": -1}, {"max_batch": 0}])
def test_impossible_settings(settings: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"provider|threads"):
        SessionSettings(**settings)
