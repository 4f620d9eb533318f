"""What clead doctor reports: each engine, and a reason that says what to do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from engines import accelerators, doctor
from engines.accelerators import why_not_cuda, why_not_tensorrt
from engines.doctor import diagnose
from engines.sessions import CPU, CUDA, TENSORRT


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """Reasons are kept once found: each test looks anew."""
    why_not_cuda.cache_clear()
    why_not_tensorrt.cache_clear()
    yield
    why_not_cuda.cache_clear()
    why_not_tensorrt.cache_clear()


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    return Machine(monkeypatch, tmp_path)


class Machine:
    """A pretended machine: its providers, whether it has a GPU, and the libraries that load."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self._monkeypatch, self._folder = monkeypatch, folder

    def has(self, *, providers: list[str], gpu: bool, libraries: set[str]) -> None:
        device = self._folder / "nvidia0"
        if gpu:
            device.touch()
        self._monkeypatch.setattr(accelerators, "_GPU_FILES", (str(device),))
        self._monkeypatch.setattr(accelerators, "_loads", lambda library: library in libraries)
        self._monkeypatch.setattr(accelerators.onnxruntime, "get_available_providers", lambda: providers)
        self._monkeypatch.setattr(accelerators.onnxruntime, "preload_dlls", lambda: None)


ALL = [TENSORRT, CUDA, CPU]
DRIVER = {"libcuda.so.1"}
CUDA_LIBRARIES = set(accelerators.cuda_libraries())
TENSORRT_LIBRARIES = {"libnvinfer.so.10", "libnvonnxparser.so.10"}


def test_no_gpu(machine: Machine) -> None:
    machine.has(providers=ALL, gpu=False, libraries=DRIVER | CUDA_LIBRARIES)
    found = diagnose()
    assert (found.chosen, found.gpu_present, found.unused_gpu) == ("cpu", False, False)
    assert [engine.usable for engine in found.engines] == [False, False, True]
    assert "no NVIDIA GPU" in str(found.engines[1].reason)


def test_a_build_without_cuda(machine: Machine) -> None:
    machine.has(providers=[CPU], gpu=True, libraries=DRIVER | CUDA_LIBRARIES)
    assert "onnxruntime-gpu" in str(why_not_cuda())
    assert diagnose().unused_gpu


def test_no_driver(machine: Machine) -> None:
    machine.has(providers=ALL, gpu=True, libraries=CUDA_LIBRARIES)
    assert "libcuda.so.1" in str(why_not_cuda())


@pytest.mark.parametrize("missing", sorted(CUDA_LIBRARIES))
def test_missing_cuda_libraries_are_named_with_the_remedy(machine: Machine, missing: str) -> None:
    machine.has(providers=ALL, gpu=True, libraries=DRIVER | CUDA_LIBRARIES - {missing})
    reason = str(why_not_cuda())
    assert missing in reason
    assert "make serve GPU=1" in reason
    assert diagnose().unused_gpu


def test_cuda_without_tensorrt(machine: Machine) -> None:
    machine.has(providers=ALL, gpu=True, libraries=DRIVER | CUDA_LIBRARIES)
    found = diagnose()
    assert (found.chosen, found.unused_gpu) == ("cuda", False)
    assert [engine.usable for engine in found.engines] == [False, True, True]
    assert "libnvinfer.so.10" in str(found.engines[0].reason)


def test_everything(machine: Machine) -> None:
    machine.has(providers=ALL, gpu=True, libraries=DRIVER | CUDA_LIBRARIES | TENSORRT_LIBRARIES)
    assert all(engine.usable for engine in doctor.diagnose().engines)


def test_libraries_follow_the_builds_cuda_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accelerators.onnxruntime, "cuda_version", "12.8")
    assert "libcudart.so.12" in accelerators.cuda_libraries()
