"""Which accelerators ONNX Runtime could use on this machine, and if not, why not and what to do about it."""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import io
import platform
from functools import cache
from pathlib import Path

import onnxruntime

from engines.sessions import CUDA, TENSORRT

_GPU_FILES = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/dxg")
_DRIVER = "libcuda.so.1"
_TENSORRT_LIBRARIES = ("libnvinfer.so.10", "libnvonnxparser.so.10")


def gpu_present() -> bool:
    """Whether this machine, or this container, has an NVIDIA GPU's device file."""
    return any(Path(file).exists() for file in _GPU_FILES)


@cache
def why_not_cuda() -> str | None:
    """Why ONNX Runtime cannot use CUDA here, and what to do; None when it can. Loads the CUDA libraries."""
    if CUDA not in onnxruntime.get_available_providers():
        return (
            "this ONNX Runtime has no CUDA: install onnxruntime-gpu (Linux on x86-64) with make serve GPU=1"
        )
    if not gpu_present():
        return "no NVIDIA GPU: no device file such as /dev/nvidia0 (in a container: run it with --gpus all)"
    if not _loads(_DRIVER):
        return f"no NVIDIA driver ({_DRIVER}): install it (in a container: run it with --gpus all)"
    with contextlib.redirect_stdout(io.StringIO()):
        onnxruntime.preload_dlls()
    missing = [name for name in cuda_libraries() if not _loads(name)]
    if missing:
        return f"CUDA libraries are missing ({', '.join(missing)}): install them with make serve GPU=1"
    return None


@cache
def why_not_tensorrt() -> str | None:
    """Why ONNX Runtime cannot use TensorRT here, and what to do; None when it can. Loads the libraries."""
    reason = why_not_cuda()
    if reason is not None:
        return reason
    if TENSORRT not in onnxruntime.get_available_providers():
        return "this ONNX Runtime has no TensorRT: install onnxruntime-gpu"
    # The wheel's libraries lie where the dynamic loader does not look; importing the package loads them.
    with contextlib.suppress(ImportError):
        importlib.import_module("tensorrt_libs")
    missing = [name for name in _TENSORRT_LIBRARIES if not _loads(name)]
    if missing:
        return (
            f"TensorRT libraries are missing ({', '.join(missing)}): install the extra clead-serve[tensorrt]"
        )
    return None


def cuda_libraries() -> tuple[str, ...]:
    """Names of the libraries that this build of ONNX Runtime's CUDA provider loads, by its CUDA version."""
    version = str(getattr(onnxruntime, "cuda_version", "") or "13")
    major = version.partition(".")[0]
    return (
        f"libcudart.so.{major}",
        f"libcublasLt.so.{major}",
        f"libcublas.so.{major}",
        "libcurand.so.10",
        "libcudnn.so.9",
    )


def _loads(library: str) -> bool:
    if platform.system() != "Linux":
        return False
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True
