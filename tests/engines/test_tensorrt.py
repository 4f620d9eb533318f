"""TensorRT's options, its cache, and what runs when either cannot be used. TensorRT itself is pretended."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engines import load as load_module
from engines import sessions, tensorrt_cache
from engines.engine import Engine, EngineError
from engines.load import CUDA_OPTIONS, EngineOptions, load_engine
from engines.sessions import CPU, CUDA, TENSORRT, SessionSettings, open_session
from engines.tensorrt_cache import cache_key, gpu_model, one_process_at_a_time, open_cache
from engines.tensorrt_options import context_model, profile, tensorrt_options
from export.bundle import CLASSIFIER, GRADIENT, Bundle
from export.tensorrt import build_tensorrt_engines
from tests.engines.provider_library import unknown_to
from tests.export.linear_bundle import write_linear_bundle

Load = Callable[[EngineOptions], Engine]


class PretendedSession:
    """A session on the CPU that says it runs elsewhere."""

    def __init__(self, session: Any, provider: str) -> None:
        self._session, self._provider = session, provider

    def get_providers(self) -> list[str]:
        return [self._provider]

    def get_provider_graph_assignment_info(self) -> list[Any]:
        return []

    def run(self, *arguments: Any) -> Any:
        return self._session.run(*arguments)


class Gpu:
    """A machine on which every provider loads, unless it is in `fails`; with what they were asked for."""

    def __init__(self) -> None:
        self.fails: dict[str, str] = {}
        """Why models do not load, by provider or by file name."""
        self.asked: list[tuple[str, list[tuple[str, dict[str, str]]]]] = []
        self.model = ""

    def open(self, model: Path, providers: Any, settings: SessionSettings) -> Any:
        self.asked.append((model.name, [(name, dict(options)) for name, options in providers]))
        why = self.fails.get(providers[0][0]) or self.fails.get(model.name)
        if why is not None:
            raise EngineError(why)
        stem = model.name.removesuffix("_ctx.onnx").removesuffix(".onnx")
        real = open_session(Path(self.model) / f"{stem}.onnx", ((CPU, {}),), settings)
        return PretendedSession(real, providers[0][0])


@pytest.fixture
def gpu(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> Gpu:
    pretended = Gpu()
    pretended.model = str(Path(bundle.file(CLASSIFIER)).parent)
    for name in ("why_not_cuda", "why_not_tensorrt"):
        monkeypatch.setattr(load_module, name, lambda: None)
    monkeypatch.setattr(load_module, "gpu_present", lambda: True)
    monkeypatch.setattr(sessions, "open_session", pretended.open)
    return pretended


def test_profiles_cover_the_batches(bundle: Bundle, tmp_path: Path) -> None:
    cache = open_cache(bundle, max_batch=32, cache=tmp_path / "cache")
    options = tensorrt_options(bundle, GRADIENT, max_batch=32, cache=cache)
    assert options["trt_profile_min_shapes"] == "images:1x3x4x4,label:1,target:1,loss:1"
    assert options["trt_profile_opt_shapes"] == "images:8x3x4x4,label:8,target:8,loss:8"
    assert options["trt_profile_max_shapes"] == "images:32x3x4x4,label:32,target:32,loss:32"
    assert profile(bundle, CLASSIFIER, batch=2) == "images:2x3x4x4"


def test_what_is_kept_lies_in_the_cache(bundle: Bundle, tmp_path: Path) -> None:
    cache = open_cache(bundle, max_batch=32, cache=tmp_path / "cache")
    assert cache.folder == tmp_path / "cache" / cache_key(bundle, max_batch=32)
    assert cache.folder.stat().st_mode & 0o777 == 0o700
    options = tensorrt_options(bundle, CLASSIFIER, max_batch=32, cache=cache)
    context = Path(options["trt_ep_context_file_path"])
    assert context == cache.folder / "classifier_ctx.onnx"
    # ONNX Runtime takes the path of the engines from the folder of the context, and refuses any other.
    engines = options["trt_engine_cache_path"]
    assert not Path(engines).is_absolute()
    assert (context.parent / engines).is_dir()
    assert options["trt_timing_cache_path"] == str(cache.folder)
    gradient = tensorrt_options(bundle, GRADIENT, max_batch=32, cache=cache)
    for name in ("trt_engine_cache_prefix", "trt_ep_context_file_path"):
        assert gradient[name] != options[name]


def test_options_that_onnx_runtime_knows(bundle: Bundle, tmp_path: Path) -> None:
    cache = open_cache(bundle, max_batch=32, cache=tmp_path / "cache")
    names = tensorrt_options(bundle, GRADIENT, max_batch=32, cache=cache)
    assert len(names) == 12
    assert unknown_to("libonnxruntime_providers_tensorrt.so", names) == []
    assert unknown_to("libonnxruntime_providers_tensorrt.so", ["trt_no_such_option"])
    assert unknown_to("libonnxruntime_providers_cuda.so", CUDA_OPTIONS) == []


def test_caches_are_not_confused(bundle: Bundle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    keys = {cache_key(bundle, max_batch=32), cache_key(bundle, max_batch=64)}
    keys.add(cache_key(write_linear_bundle(tmp_path / "other", version="2"), max_batch=32))
    for name, value in (("gpu_model", lambda: "nvidia-h200"), ("tensorrt_version", lambda: "101601")):
        with monkeypatch.context() as patch:
            patch.setattr(tensorrt_cache, name, value)
            keys.add(cache_key(bundle, max_batch=32))
    monkeypatch.setattr(tensorrt_cache.onnxruntime, "__version__", "1.32.0")
    keys.add(cache_key(bundle, max_batch=32))
    assert len(keys) == 6


class Driver:
    """A CUDA driver with one GPU."""

    def __init__(self, name: bytes, *, status: int = 0) -> None:
        self._name, self._status = name, status

    def cuInit(self, flags: int) -> int:
        return self._status

    def cuDeviceGet(self, device: Any, ordinal: int) -> int:
        return 0

    def cuDeviceGetName(self, name: Any, size: int, device: Any) -> int:
        name.value = self._name
        return 0


@pytest.mark.parametrize(
    ("driver", "model"),
    [
        (Driver(b"NVIDIA A100-SXM4-40GB"), "nvidia-a100-sxm4-40gb"),
        (Driver(b"Tesla T4"), "tesla-t4"),
        (Driver(b"Tesla T4", status=100), "none"),
        (Driver(b""), "none"),
    ],
)
def test_the_model_of_the_gpu(monkeypatch: pytest.MonkeyPatch, driver: Driver, model: str) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: driver)
    assert gpu_model() == model


def test_a_machine_without_a_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", absent)
    assert gpu_model() == "none"


def in_the_way(cache: Path, key: str) -> None:
    cache.mkdir()
    (cache / key).write_text("a file where the folder should be")


def writable_for_all(cache: Path, key: str) -> None:
    (cache / key).mkdir(parents=True)
    (cache / key).chmod(0o777)


@pytest.mark.parametrize(
    ("spoil", "why"), [(in_the_way, "File exists"), (writable_for_all, "others may write to it")]
)
def test_a_cache_that_cannot_be_used_is_reported(
    bundle: Bundle, gpu: Gpu, tmp_path: Path, spoil: Callable[[Path, str], None], why: str
) -> None:
    cache = tmp_path / "cache"
    spoil(cache, cache_key(bundle, max_batch=256))
    options = EngineOptions(engine="tensorrt", strict=True, tensorrt_cache=cache)
    info = load_engine(bundle, options).describe()
    assert info.provider == TENSORRT
    assert f"builds its engines at every start, since its cache cannot be used ({why})" in str(info.reason)
    # A server tells this to everybody.
    assert str(tmp_path) not in str(info.reason)
    for _, providers in gpu.asked:
        assert not {name for name in providers[0][1] if "cache" in name or "context" in name}
    with pytest.raises(EngineError, match="built and not kept"):
        build_tensorrt_engines(bundle, max_batch=256, cache=cache)


def test_tensorrt_has_its_options_and_those_after_it_theirs(bundle: Bundle, gpu: Gpu, tmp_path: Path) -> None:
    engine = load_engine(bundle, EngineOptions(engine="tensorrt", tensorrt_cache=tmp_path, cuda_graphs=True))
    assert (engine.describe().provider, engine.describe().reason) == (TENSORRT, None)
    for (model, providers), graph in zip(gpu.asked, (CLASSIFIER, GRADIENT), strict=True):
        assert model == graph
        assert [name for name, _ in providers] == [TENSORRT, CUDA, CPU]
        assert providers[0][1]["trt_engine_cache_prefix"] == graph.removesuffix(".onnx")
        assert providers[1][1] == CUDA_OPTIONS


def test_a_damaged_cache_leads_to_cuda_and_says_so(
    bundle: Bundle, gpu: Gpu, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / cache_key(bundle, max_batch=256)
    gpu.fails[TENSORRT] = f"could not deserialize engine from cache: {folder}/engines/classifier_sm90.engine"
    info = load_engine(bundle, EngineOptions(engine="tensorrt", tensorrt_cache=tmp_path)).describe()
    assert (info.provider, info.device) == (CUDA, "cuda")
    reason = str(info.reason)
    assert f"{TENSORRT} did not load and ONNX Runtime fell back to {CUDA}" in reason
    assert f"could not deserialize engine from cache: {folder.name}/engines" in reason
    assert f"if what the cache {folder.name} holds is damaged, remove it" in reason
    assert str(folder) in caplog.text
    # Nothing is lost on the way: TF32 stays off.
    assert gpu.asked[1] == (CLASSIFIER, [(CUDA, CUDA_OPTIONS), (CPU, {})])
    with pytest.raises(EngineError, match=r"engine tensorrt is strict .*could not deserialize"):
        load_engine(bundle, EngineOptions(engine="tensorrt", strict=True, tensorrt_cache=tmp_path))


def test_the_last_one_to_fail_is_the_error(bundle: Bundle, gpu: Gpu, tmp_path: Path) -> None:
    gpu.fails = {TENSORRT: "no TensorRT", CUDA: "no memory", CPU: "a damaged graph"}
    with pytest.raises(EngineError, match=r"^a damaged graph$"):
        load_engine(bundle, EngineOptions(engine="tensorrt", tensorrt_cache=tmp_path))
    assert [providers[0][0] for _, providers in gpu.asked] == [TENSORRT, CUDA, CPU]


@pytest.mark.parametrize("damaged", [False, True])
def test_a_context_is_loaded_instead_of_the_graph(
    bundle: Bundle, gpu: Gpu, tmp_path: Path, damaged: bool, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / cache_key(bundle, max_batch=256)
    folder.mkdir(mode=0o700)
    context_model(folder, CLASSIFIER).touch()
    if damaged:
        gpu.fails["classifier_ctx.onnx"] = "the engine of the context is missing"
    info = load_engine(bundle, EngineOptions(engine="tensorrt", tensorrt_cache=tmp_path)).describe()
    assert (info.provider, info.reason) == (TENSORRT, None)
    expected = ["classifier_ctx.onnx", *([CLASSIFIER] if damaged else []), GRADIENT]
    assert [model for model, _ in gpu.asked] == expected
    # It holds its engine and its shapes; nothing is to be written a second time.
    assert gpu.asked[0][1] == [(TENSORRT, {}), (CUDA, CUDA_OPTIONS), (CPU, {})]
    assert ("is missing" in caplog.text) == damaged


def test_one_process_builds_while_the_others_wait(tmp_path: Path) -> None:
    entered = threading.Event()

    def wait() -> None:
        with one_process_at_a_time(tmp_path / "lock"):
            entered.set()

    other = threading.Thread(target=wait)
    with one_process_at_a_time(tmp_path / "lock"):
        other.start()
        assert not entered.wait(0.1)
    assert entered.wait(30)
    other.join()


def test_a_lock_that_cannot_be_had_stops_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with one_process_at_a_time(tmp_path / "no-such-folder" / "lock"):
        assert "cannot be locked" in caplog.text
    with pytest.raises(FileNotFoundError, match="of the work"), one_process_at_a_time(tmp_path / "lock"):
        raise FileNotFoundError("of the work inside")
