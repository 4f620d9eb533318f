"""The pinned CUDA libraries are those that ONNX Runtime's GPU build links against: names and major versions.

What it opens by name while it runs (cuDNN, cuFFT) is in no table of the library; ONNX Runtime's own list of
what it preloads stands for that.
"""

from __future__ import annotations

import importlib.metadata
import re
import tomllib
from pathlib import Path

import onnxruntime
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from engines.accelerators import cuda_libraries
from tests.architecture.elf import needed

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {
    "libcublas": "nvidia-cublas",
    "libcublasLt": "nvidia-cublas",
    "libcudart": "nvidia-cuda-runtime",
    "libcudnn": "nvidia-cudnn-cu13",
    "libcufft": "nvidia-cufft",
    "libcurand": "nvidia-curand",
    "libnvrtc": "nvidia-cuda-nvrtc",
}
"""The package that carries a library; its major version is the number in the library's name."""
OURS_OR_THE_SYSTEMS = re.compile(r"lib(c|m|dl|rt|pthread|stdc\+\+|gcc_s|cuda)\.so\.\d+|ld-linux.*")
"""The C and C++ runtimes, and the driver."""


def provider(name: str) -> Path:
    library = Path(onnxruntime.__file__).parent / "capi" / f"libonnxruntime_providers_{name}.so"
    if not library.is_file():
        pytest.skip("needs the GPU build of ONNX Runtime (Linux on x86-64)")
    return library


def pins() -> dict[str, str]:
    lines = (ROOT / "requirements" / "serve-gpu.txt").read_text(encoding="utf-8").splitlines()
    requirements = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {
        canonicalize_name(pin.name): next(iter(pin.specifier)).version
        for pin in requirements
        if pin.marker is None or pin.marker.evaluate({"sys_platform": "linux", "platform_machine": "x86_64"})
    }


def linked(name: str) -> list[tuple[str, str]]:
    """Libraries that a provider needs besides the system's, each as name and number."""
    libraries = [library for library in needed(provider(name)) if not OURS_OR_THE_SYSTEMS.fullmatch(library)]
    return [(library.partition(".so.")[0], library.partition(".so.")[2]) for library in libraries]


def preloaded() -> list[tuple[str, str]]:
    """Libraries that ONNX Runtime itself loads before its provider, from NVIDIA's packages."""
    provider("cuda")
    names = [path[-1] for path in onnxruntime._get_nvidia_dll_paths(False)]
    return [(name.partition(".so.")[0], name.partition(".so.")[2]) for name in names]


def test_what_the_providers_link_is_pinned() -> None:
    libraries, pinned = {*linked("cuda"), *preloaded()}, pins()
    assert importlib.metadata.version("onnxruntime-gpu") == pinned["onnxruntime-gpu"]
    assert {"libcublas", "libcublasLt", "libcudart", "libcurand", "libcudnn"} <= {
        name for name, _ in libraries
    }
    for name, number in sorted(libraries):
        assert str(Version(pinned[PACKAGES[name]]).major) == number, f"{name}.so.{number}"


def test_what_doctor_looks_for_is_what_is_linked() -> None:
    looked_for = {(name.partition(".so.")[0], name.partition(".so.")[2]) for name in cuda_libraries()}
    assert set(linked("cuda")) <= looked_for <= {*linked("cuda"), *preloaded()}


def test_tensorrt_is_the_one_that_is_linked() -> None:
    libraries = dict(linked("tensorrt"))
    assert libraries.keys() >= {"libnvinfer", "libnvonnxparser"}
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
        "optional-dependencies"
    ]["tensorrt"]
    (tensorrt,) = (found for line in extras if (found := Requirement(line)).name.startswith("tensorrt"))
    major = int(libraries.pop("libnvinfer"))
    assert int(libraries.pop("libnvonnxparser")) == major
    assert tensorrt.specifier.contains(f"{major}.99")
    assert not tensorrt.specifier.contains(f"{major + 1}.0")
    # Everything else comes with CUDA, for the same CUDA.
    assert tensorrt.name == f"tensorrt-cu{libraries['libcudart']}"
    pinned = pins()
    for name, number in libraries.items():
        assert str(Version(pinned[PACKAGES[name]]).major) == number


@pytest.mark.parametrize("library", sorted(PACKAGES))
def test_the_packages_carry_these_libraries(library: str) -> None:
    """As far as they are installed here in the version that is pinned."""
    number = dict(preloaded()) | dict(linked("cuda"))
    try:
        installed = importlib.metadata.distribution(PACKAGES[library])
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(f"{PACKAGES[library]} is not installed")
    if installed.version != pins()[PACKAGES[library]]:
        pytest.skip(f"{PACKAGES[library]} {installed.version} is not the version that is pinned")
    assert f"{library}.so.{number[library]}" in {file.name for file in installed.files or ()}
