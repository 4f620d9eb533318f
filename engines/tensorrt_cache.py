"""The folder that keeps TensorRT's engines for a bundle: its key, who may use it, one process at a time.

An engine holds for one model, one GPU, one TensorRT and one range of batches; the key names all of them.
"""

from __future__ import annotations

import ctypes
import logging
import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import onnxruntime

from export.bundle import Bundle

ENGINES = "engines"
"""The folder of the engines themselves inside a cache, beside the models that refer to them."""
_LOCK = "lock"
_NAME_BYTES = 256
_LOG = logging.getLogger("clead.engines")


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorRtCache:
    """Where engines of one bundle are kept. `reason` says why they are not (None: they are)."""

    folder: Path | None
    reason: str | None = None

    @property
    def lock(self) -> Path | None:
        """The file that processes lock while they build engines; None where none are kept."""
        return None if self.folder is None else self.folder / _LOCK


def open_cache(bundle: Bundle, *, max_batch: int, cache: Path | None = None) -> TensorRtCache:
    """The cache of a bundle, made where there is none. One that cannot be used is none, with the reason.

    Args:
        max_batch: the largest batch of the engines.
        cache: the folder of all caches; `default_cache()` without it.
    """
    folder = (cache or default_cache()) / cache_key(bundle, max_batch=max_batch)
    try:
        # TensorRT executes what it finds in its engines: nobody else may put one here.
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        status = folder.stat()
        if status.st_uid != os.geteuid() or status.st_mode & 0o022:
            return _none(folder, "others may write to it")
        (folder / ENGINES).mkdir(exist_ok=True)
        (folder / _LOCK).touch()
    except OSError as error:
        return _none(folder, error.strerror or str(error))
    return TensorRtCache(folder=folder)


def _none(folder: Path, why: str) -> TensorRtCache:
    _LOG.warning("the cache %s cannot be used: %s", folder, why)
    return TensorRtCache(
        folder=None,
        reason=f"TensorRT builds its engines at every start, since its cache cannot be used ({why}): make "
        f"{folder.parent.parent.name}/{folder.parent.name} a folder of this user, or set XDG_CACHE_HOME",
    )


def cache_key(bundle: Bundle, *, max_batch: int) -> str:
    """Folder name for engines that are interchangeable: model, ONNX Runtime, TensorRT, GPU, largest batch."""
    versions = f"ort{onnxruntime.__version__}-trt{tensorrt_version()}"
    return f"{bundle.sha256[:16]}-{versions}-{gpu_model()}-batch{max_batch}"


def default_cache() -> Path:
    """`clead/tensorrt` in the user's cache folder ($XDG_CACHE_HOME, else ~/.cache)."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "clead" / "tensorrt"


def tensorrt_version() -> str:
    """TensorRT's version as its library gives it, e.g. "101601"; "none" where it is not installed."""
    try:
        return str(ctypes.CDLL("libnvinfer.so.10").getInferLibVersion())
    except (OSError, AttributeError):
        return "none"


def gpu_model() -> str:
    """The model of the GPU that sessions use, e.g. "nvidia-a100-sxm4-40gb"; "none" without a driver.

    GPUs of one compute capability, which is all that ONNX Runtime's own file names tell apart, still differ
    in cores and memory.
    """
    name = ctypes.create_string_buffer(_NAME_BYTES)
    device = ctypes.c_int()
    try:
        driver = ctypes.CDLL("libcuda.so.1")
        failed = (
            driver.cuInit(0)
            or driver.cuDeviceGet(ctypes.byref(device), 0)
            or driver.cuDeviceGetName(name, _NAME_BYTES, device)
        )
    except (OSError, AttributeError):
        return "none"
    slug = re.sub(r"[^a-z0-9]+", "-", name.value.decode("ascii", "ignore").lower()).strip("-")
    return "none" if failed or not slug else slug


@contextmanager
def one_process_at_a_time(lock: Path) -> Iterator[None]:
    """Waits until no other process is in here with the same file: one builds engines, the others find them.

    Where there are no such locks, nobody waits.
    """
    with ExitStack() as held:
        try:
            import fcntl

            fcntl.flock(held.enter_context(lock.open("w")), fcntl.LOCK_EX)
        except (ImportError, OSError) as error:
            _LOG.warning("%s cannot be locked, so that several processes may build engines: %s", lock, error)
        yield
