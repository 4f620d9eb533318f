"""Bound runs and CUDA graphs: the answers of plain runs, a graph for each size, and what a failure leads to.

Bindings are real ones of the CPU provider. What only CUDA does is pretended by `CapturingSession`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engines import bound_session, sessions
from engines.bound_session import BoundSession, captured_sizes, open_bound
from engines.engine import EngineError
from engines.onnx_runtime import OnnxRuntimeEngine
from engines.sessions import CPU, CUDA, PlainSession, SessionSettings, open_plain, open_session
from export.bundle import CLASSIFIER, GRADIENT, Bundle
from tests.engines.capturing_session import CapturingSession
from tests.engines.provider_library import unknown_to
from tests.export.linear_bundle import SIDE

OUTPUTS = {CLASSIFIER: ("logits",), GRADIENT: ("logits", "loss_value", "gradient")}
ON_CPU = SessionSettings()
ON_CUDA = SessionSettings(providers=((CUDA, {"use_tf32": "0"}), (CPU, {})), max_batch=8, cuda_graphs=True)


def feed(graph: str, count: int, seed: int = 5) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    images = generator.random((count, 3, SIDE, SIDE)).astype(np.float32)
    if graph == CLASSIFIER:
        return {"images": images}
    label = generator.integers(0, 4, count)
    return {"images": images, "label": label, "target": np.full(count, -1), "loss": np.zeros(count, np.int64)}


def bound(
    bundle: Bundle, graph: str, session: Any = None, sizes: tuple[int, ...] = (1, 2, 4)
) -> BoundSession:
    return BoundSession(
        session or open_session(bundle.file(graph), ON_CPU.providers, ON_CPU),
        graph=graph,
        outputs=OUTPUTS[graph],
        sizes=sizes,
        example=feed(graph, sizes[-1], seed=1),
        plain=lambda: open_plain(bundle, graph, ON_CPU),
    )


def assert_same(answer: list[np.ndarray], plain: list[np.ndarray]) -> None:
    assert len(answer) == len(plain)
    for values, expected in zip(answer, plain, strict=True):
        assert values.dtype == expected.dtype
        np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-6)


@pytest.fixture(autouse=True)
def buffers_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bound_session, "_DEVICES", {})


@pytest.fixture
def capturing(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[CapturingSession]]:
    """Sessions that CUDA would run: those with graphs capture, those without are real ones on the CPU."""
    opened: list[CapturingSession] = []

    def pretend(model: Path, providers: Any, settings: SessionSettings) -> Any:
        session = open_session(model, ((CPU, {}),), settings)
        if providers[0][1].get("enable_cuda_graph") == "1":
            opened.append(CapturingSession(session))
            return opened[-1]
        return session

    monkeypatch.setattr(bound_session, "open_session", pretend)
    monkeypatch.setattr(sessions, "open_session", pretend)
    yield opened


@pytest.mark.parametrize("graph", [CLASSIFIER, GRADIENT])
@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 9])
def test_the_answers_of_plain_runs(bundle: Bundle, graph: str, count: int) -> None:
    session, values = bound(bundle, graph), feed(graph, count)
    plain = open_plain(bundle, graph, ON_CPU).run(OUTPUTS[graph], values)
    for _ in range(2):
        assert_same(session.run(OUTPUTS[graph], values), plain)
    assert (session.provider, session.reason) == (CPU, None)
    session.close()


def test_outputs_come_in_the_order_asked_for(bundle: Bundle) -> None:
    session, values = bound(bundle, GRADIENT), feed(GRADIENT, 3)
    gradient, logits = session.run(("gradient", "logits"), values)
    assert (gradient.shape, logits.shape) == ((3, 3, SIDE, SIDE), (3, 4))


def test_neither_rows_that_fill_up_nor_those_of_the_run_before_leak(bundle: Bundle) -> None:
    session, plain = bound(bundle, GRADIENT), open_plain(bundle, GRADIENT, ON_CPU)
    many, few = feed(GRADIENT, 4, seed=2), feed(GRADIENT, 3, seed=3)
    before = session.run(OUTPUTS[GRADIENT], many)
    kept = [values.copy() for values in before]
    assert_same(session.run(OUTPUTS[GRADIENT], few), plain.run(OUTPUTS[GRADIENT], few))
    # What was answered is the caller's: the next run does not write into it.
    assert_same(before, kept)


def test_threads_share_a_session(bundle: Bundle) -> None:
    session, plain = bound(bundle, GRADIENT), open_plain(bundle, GRADIENT, ON_CPU)
    feeds = [feed(GRADIENT, 1 + seed % 5, seed) for seed in range(40)]
    with ThreadPoolExecutor(max_workers=8) as pool:
        answers = list(pool.map(lambda values: session.run(OUTPUTS[GRADIENT], values), feeds))
    for values, answer in zip(feeds, answers, strict=True):
        assert_same(answer, plain.run(OUTPUTS[GRADIENT], values))


@pytest.mark.parametrize(
    ("max_batch", "sizes"),
    [
        (1, (1,)),
        (3, (1, 2, 3)),
        (8, (1, 2, 4, 8)),
        (20, (1, 2, 4, 8, 16, 20)),
        (256, (1, 2, 4, 8, 16, 32, 64)),
    ],
)
def test_sizes(max_batch: int, sizes: tuple[int, ...]) -> None:
    assert captured_sizes(max_batch) == sizes


def test_one_graph_for_each_size_in_one_thread(bundle: Bundle) -> None:
    session = CapturingSession(open_session(bundle.file(GRADIENT), ON_CPU.providers, ON_CPU))
    runner = bound(bundle, GRADIENT, session)
    assert session.sizes == {1: 1, 2: 2, 4: 4}
    session.runs.clear()
    with ThreadPoolExecutor(max_workers=4) as pool:
        list(pool.map(lambda count: runner.run(OUTPUTS[GRADIENT], feed(GRADIENT, count)), [1, 2, 3, 4, 3]))
    assert sorted(session.runs) == [1, 2, 4, 4, 4]
    assert len(session.threads) == 1
    assert runner.reason is None


def test_a_size_that_was_not_captured_runs_without(bundle: Bundle) -> None:
    session = CapturingSession(open_session(bundle.file(CLASSIFIER), ON_CPU.providers, ON_CPU))
    runner = bound(bundle, CLASSIFIER, session)
    session.runs.clear()
    values = feed(CLASSIFIER, 5)
    assert_same(
        runner.run(OUTPUTS[CLASSIFIER], values),
        open_plain(bundle, CLASSIFIER, ON_CPU).run(["logits"], values),
    )
    assert session.runs == [-1]


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        ("bind", "no memory for the buffers"),
        ("capture", "stream is capturing"),
        ("stale", "answers other logits than the same run without capture"),
    ],
)
def test_what_cannot_be_captured_is_refused(bundle: Bundle, broken: str, why: str) -> None:
    real = open_session(bundle.file(GRADIENT), ON_CPU.providers, ON_CPU)
    with pytest.raises(EngineError, match=rf"gradient\.onnx cannot be captured as a CUDA graph: .*{why}"):
        bound(bundle, GRADIENT, CapturingSession(real, broken=broken))


def test_a_replay_that_fails_is_answered_without_graphs(
    bundle: Bundle, caplog: pytest.LogCaptureFixture
) -> None:
    session = CapturingSession(open_session(bundle.file(GRADIENT), ON_CPU.providers, ON_CPU))
    runner, plain = bound(bundle, GRADIENT, session), open_plain(bundle, GRADIENT, ON_CPU)
    session.broken = "replay"
    feeds = [feed(GRADIENT, count, seed=count) for count in (3, 1, 4, 2, 5)]
    with caplog.at_level(logging.WARNING, logger="clead"), ThreadPoolExecutor(max_workers=5) as pool:
        answers = list(pool.map(lambda values: runner.run(OUTPUTS[GRADIENT], values), feeds))
    for values, answer in zip(feeds, answers, strict=True):
        assert_same(answer, plain.run(OUTPUTS[GRADIENT], values))
    assert "illegal memory access" in str(runner.reason)
    assert [record for record in caplog.records if "given up for gradient.onnx" in record.message]
    runs = len(session.runs)
    runner.run(OUTPUTS[GRADIENT], feeds[0])
    assert len(session.runs) == runs


def test_a_plain_session_that_does_not_open_is_tried_again(bundle: Bundle) -> None:
    """As on a GPU that is full for a moment."""
    refusals = ["no memory", "still no memory"]

    def plain() -> PlainSession:
        if refusals:
            raise EngineError(refusals.pop(0))
        return open_plain(bundle, CLASSIFIER, ON_CPU)

    session = CapturingSession(open_session(bundle.file(CLASSIFIER), ON_CPU.providers, ON_CPU))
    values = feed(CLASSIFIER, 2)
    runner = BoundSession(
        session, graph=CLASSIFIER, outputs=("logits",), sizes=(2,), example=feed(CLASSIFIER, 2), plain=plain
    )
    session.broken = "replay"
    for refusal in tuple(refusals):
        with pytest.raises(EngineError, match=refusal):
            runner.run(("logits",), values)
    assert_same(
        runner.run(("logits",), values), open_plain(bundle, CLASSIFIER, ON_CPU).run(["logits"], values)
    )
    assert (runner.provider, "given up" in str(runner.reason)) == (CPU, True)


def test_a_batch_that_fails_without_capture_is_an_error_and_no_reason_to_give_up(bundle: Bundle) -> None:
    runner = bound(bundle, CLASSIFIER)
    with pytest.raises(EngineError, match="failed on a batch of 5"):
        runner.run(OUTPUTS[CLASSIFIER], {"images": np.zeros((5, 3, 9, 9), np.float32)})
    assert runner.reason is None


def test_an_engine_replays_both_graphs(bundle: Bundle, capturing: list[CapturingSession]) -> None:
    engine, plain = OnnxRuntimeEngine(bundle, settings=ON_CUDA), OnnxRuntimeEngine(bundle)
    assert [session.sizes for session in capturing] == [{1: 1, 2: 2, 4: 4, 8: 8}] * 2
    values = feed(GRADIENT, 11)
    np.testing.assert_allclose(engine.logits(values["images"]), plain.logits(values["images"]), rtol=1e-5)
    arguments = (values["images"], values["label"], values["target"], values["loss"])
    for got, expected in zip(engine.gradient(*arguments), plain.gradient(*arguments), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
    # Eleven in pieces of eight: the last three are filled up to four.
    assert [session.runs[-2:] for session in capturing] == [[8, 4], [8, 4]]
    info = engine.describe()
    assert (info.provider, info.device, info.reason) == (CUDA, "cuda", None)
    capturing[1].broken = "replay"
    engine.gradient(*arguments)
    assert "gradient.onnx: a batch of" in str(engine.describe().reason)
    engine.close()


def test_graphs_are_left_alone_unless_asked_for_on_cuda(
    bundle: Bundle, capturing: list[CapturingSession]
) -> None:
    OnnxRuntimeEngine(bundle, settings=replace(ON_CUDA, cuda_graphs=False))
    OnnxRuntimeEngine(bundle, settings=replace(ON_CPU, cuda_graphs=True))
    assert capturing == []


def test_a_session_that_refuses_graphs_is_opened_without(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As ONNX Runtime does where nodes of the graph are left to the CPU."""
    tried: list[dict[str, str]] = []

    def refuse(model: Path, providers: Any, settings: SessionSettings) -> Any:
        tried.append(dict(providers[0][1]))
        if "enable_cuda_graph" in providers[0][1]:
            raise EngineError("this session cannot use the graph capture feature")
        return CapturingSession(open_session(model, ((CPU, {}),), settings))

    monkeypatch.setattr(bound_session, "open_session", refuse)
    monkeypatch.setattr(sessions, "open_session", refuse)
    runner = open_bound(bundle, CLASSIFIER, ON_CUDA, outputs=OUTPUTS[CLASSIFIER], example=feed(CLASSIFIER, 8))
    assert tried == [{"use_tf32": "0", "enable_cuda_graph": "1"}, {"use_tf32": "0"}]
    assert runner.provider == CUDA
    assert runner.reason == "CUDA graphs are not used: this session cannot use the graph capture feature"
    assert "no CUDA graphs" in caplog.text


def test_names_that_onnx_runtime_knows() -> None:
    assert unknown_to("libonnxruntime_providers_cuda.so", ["enable_cuda_graph"]) == []
    assert unknown_to("libonnxruntime.so.*", [bound_session.GRAPH_ID]) == []
