"""Choosing an engine: fallbacks say why, strict mode refuses them, and the sample catches other weights."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from onnxruntime import InferenceSession
from safetensors.numpy import load, save

from engines import load as load_module
from engines import sessions
from engines.engine import EngineError
from engines.load import EngineOptions, choose_providers, default_max_batch, load_engine
from engines.sample import check_engine, sign_agreement
from engines.sessions import CPU, CUDA, TENSORRT, SessionSettings
from export.bundle import Bundle, BundleError
from export.tensorrt import build_tensorrt_engines
from tests.export.linear_bundle import class_weights, linear_files, rewrite


def machine(monkeypatch: pytest.MonkeyPatch, *, cuda: str | None, tensorrt: str | None, gpu: bool) -> None:
    """A machine where these are the reasons not to use each."""
    monkeypatch.setattr(load_module, "why_not_cuda", lambda: cuda)
    monkeypatch.setattr(load_module, "why_not_tensorrt", lambda: tensorrt)
    monkeypatch.setattr(load_module, "gpu_present", lambda: gpu)


def test_cpu(bundle: Bundle) -> None:
    info = load_engine(bundle, EngineOptions(engine="cpu", strict=True)).describe()
    assert (info.provider, info.reason, info.unused_gpu) == (CPU, None, False)


def test_auto_falls_back_and_says_why(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, cuda="CUDA libraries are missing", tensorrt="no", gpu=True)
    info = load_engine(bundle).describe()
    assert (info.provider, info.reason, info.unused_gpu) == (CPU, "CUDA libraries are missing", True)


@pytest.mark.parametrize(("engine", "gpu"), [("auto", True), ("cuda", False), ("tensorrt", False)])
def test_strict_refuses_the_slower_one(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, engine: str, gpu: bool
) -> None:
    machine(monkeypatch, cuda="no CUDA here", tensorrt="no CUDA here", gpu=gpu)
    with pytest.raises(EngineError, match=rf"engine {engine} is strict.*no CUDA here"):
        load_engine(bundle, EngineOptions(engine=engine, strict=True))


def test_strict_auto_serves_on_the_cpu_of_a_machine_without_a_gpu(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(monkeypatch, cuda="no NVIDIA GPU", tensorrt="no NVIDIA GPU", gpu=False)
    info = load_engine(bundle, EngineOptions(strict=True)).describe()
    assert (info.provider, info.reason, info.unused_gpu) == (CPU, "no NVIDIA GPU", False)


def test_strict_trusts_what_runs_and_not_what_was_promised(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All libraries seem to be there, yet ONNX Runtime falls back: only the loaded session tells."""
    machine(monkeypatch, cuda=None, tensorrt=None, gpu=True)
    unasked = sessions.open_session

    def on_cpu(model: Path, providers: object, settings: SessionSettings) -> InferenceSession:
        return unasked(model, ((CPU, {}),), settings)

    monkeypatch.setattr(sessions, "open_session", on_cpu)
    for engine in ("auto", "cuda"):
        with pytest.raises(EngineError, match=f"{CUDA} did not load"):
            load_engine(bundle, EngineOptions(engine=engine, strict=True))
    info = load_engine(bundle, EngineOptions(engine="cuda")).describe()
    assert info.provider == CPU
    assert info.unused_gpu
    assert info.reason is not None
    assert CUDA in info.reason


class OnCudaItSays:
    """A session of the CPU that says that CUDA is in use, for all nodes but those of these operators."""

    def __init__(self, session: InferenceSession, left: set[str] | None) -> None:
        self._session = session
        self._left = left

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def get_providers(self) -> list[str]:
        return [CUDA, CPU]

    def get_provider_graph_assignment_info(self) -> list[SimpleNamespace]:
        nodes = [
            node
            for subgraph in self._session.get_provider_graph_assignment_info()
            for node in subgraph.get_nodes()
        ]
        assert nodes
        return [
            SimpleNamespace(
                ep_name=CPU if self._left is None or node.op_type in self._left else CUDA,
                get_nodes=lambda node=node: [node],
            )
            for node in nodes
        ]


@pytest.mark.parametrize(
    ("left", "refused"), [(None, True), (("MatMul", "Gemm"), True), (("Shape", "Gather"), False)], ids=str
)
def test_strict_refuses_a_provider_that_leaves_the_work_to_the_cpu(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, left: tuple[str, ...] | None, refused: bool
) -> None:
    machine(monkeypatch, cuda=None, tensorrt=None, gpu=True)
    unasked = sessions.open_session

    def open_session(model: Path, providers: object, settings: SessionSettings) -> OnCudaItSays:
        return OnCudaItSays(unasked(model, ((CPU, {}),), settings), None if left is None else set(left))

    monkeypatch.setattr(sessions, "open_session", open_session)
    info = load_engine(bundle, EngineOptions(engine="cuda")).describe()
    assert info.provider == CUDA
    assert (info.reason is not None and "the CPU computes" in info.reason) == refused
    with pytest.raises(EngineError, match="convolutions and matrix products") if refused else nullcontext():
        load_engine(bundle, EngineOptions(engine="cuda", strict=True))


def test_providers_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, cuda=None, tensorrt=None, gpu=True)

    def names(engine: str) -> list[str]:
        providers, reason = choose_providers(EngineOptions(engine=engine))
        assert reason is None
        return [name for name, _ in providers]

    assert names("cpu") == [CPU]
    assert names("auto") == names("cuda") == [CUDA, CPU]
    assert names("tensorrt") == [TENSORRT, CUDA, CPU]


def test_tensorrt_falls_back_to_cuda_first(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, cuda=None, tensorrt="no libnvinfer", gpu=True)
    providers, reason = choose_providers(EngineOptions(engine="tensorrt"))
    assert [name for name, _ in providers] == [CUDA, CPU]
    assert reason == "no libnvinfer"


def test_unknown_engine(bundle: Bundle) -> None:
    with pytest.raises(EngineError, match="accepted are auto, cpu, cuda, tensorrt, triton"):
        load_engine(bundle, EngineOptions(engine="abacus"))


def test_triton_needs_an_address(bundle: Bundle) -> None:
    with pytest.raises(EngineError, match="localhost:8001"):
        load_engine(bundle, EngineOptions(engine="triton"))


def test_the_sample_catches_other_weights(bundle: Bundle) -> None:
    """Every hash agrees, but the weights are not those whose answers the sample holds."""
    rewrite(
        bundle, {"weights.safetensors": linear_files(weights=class_weights(seed=9))["weights.safetensors"]}
    )
    with pytest.raises(EngineError, match="logits of the classifier graph are off"):
        load_engine(bundle, EngineOptions(engine="cpu"))


def test_the_sample_catches_a_wrong_gradient(bundle: Bundle) -> None:
    sample = load(bundle.file("sample.safetensors").read_bytes())
    sample["gradient"][0] *= -1
    rewrite(bundle, {"sample.safetensors": save(sample)})
    with pytest.raises(EngineError, match="gradient signs agree"):
        load_engine(bundle, EngineOptions(engine="cpu"))
    load_engine(bundle, EngineOptions(engine="cpu", with_gradient=False))


def test_the_sample_catches_not_a_number(bundle: Bundle) -> None:
    weights = class_weights()
    weights[0, 0] = np.nan
    rewrite(bundle, {"weights.safetensors": linear_files(weights=weights)["weights.safetensors"]})
    with pytest.raises(EngineError, match="off by inf"):
        load_engine(bundle, EngineOptions(engine="cpu"))


@pytest.mark.parametrize("content", [b"", b"junk", save({"images": np.zeros((1, 3, 4, 4), np.float32)})])
def test_a_sample_that_is_none(bundle: Bundle, content: bytes) -> None:
    rewrite(bundle, {"sample.safetensors": content})
    with pytest.raises(EngineError, match=r"sample\.safetensors does not hold"):
        load_engine(bundle, EngineOptions(engine="cpu"))


def test_a_sample_of_another_shape(bundle: Bundle) -> None:
    sample = load(bundle.file("sample.safetensors").read_bytes())
    sample["images"] = np.zeros((6, 3, 5, 5), np.float32)
    rewrite(bundle, {"sample.safetensors": save(sample)})
    with pytest.raises(EngineError, match=r"sample\.safetensors does not fit"):
        load_engine(bundle, EngineOptions(engine="cpu"))


@pytest.mark.parametrize("names", [("a", "b", "c"), ("a", "b", "c", "d", "e")])
def test_a_manifest_with_other_classes_than_the_sample(bundle: Bundle, names: tuple[str, ...]) -> None:
    """The graphs and the sample agree on four classes; only the manifest's list is wrong."""
    engine = load_engine(bundle, EngineOptions(engine="cpu"))
    other = replace(bundle, manifest=bundle.manifest.model_copy(update={"classes": names}))
    with pytest.raises(
        BundleError, match=rf"sample\.safetensors .* manifest\.json names {len(names)} classes"
    ):
        check_engine(engine, other)


def test_checking_is_repeatable(bundle: Bundle) -> None:
    engine = load_engine(bundle, EngineOptions(engine="cpu"))
    check_engine(engine, bundle)


def test_sign_agreement_counts_what_matters() -> None:
    reference = np.array([[1.0, -1.0, 0.5, 0.001], [0.0, 0.0, 0.0, 0.0]], np.float32)
    got = np.array([[2.0, 1.0, 0.1, -0.001], [0.0, 0.0, 0.0, 0.0]], np.float32)
    np.testing.assert_allclose(sign_agreement(got, reference), [2 / 3, 1.0])
    got[1, 0] = 1.0
    np.testing.assert_allclose(sign_agreement(got, reference), [2 / 3, 3 / 4])


@pytest.mark.parametrize(("side", "batch"), [(4, 256), (32, 256), (64, 256), (224, 20), (2048, 1)])
def test_larger_images_run_in_smaller_batches(bundle: Bundle, side: int, batch: int) -> None:
    spec = bundle.manifest.input.model_copy(update={"height": side, "width": side, "resize": side})
    manifest = bundle.manifest.model_copy(update={"input": spec})
    assert default_max_batch(replace(bundle, manifest=manifest)) == batch


def test_tensorrt_engines_are_not_built_without_tensorrt(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    machine(monkeypatch, cuda="no GPU here", tensorrt="no GPU here", gpu=False)
    with pytest.raises(EngineError, match="no GPU here"):
        build_tensorrt_engines(bundle, cache=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()
