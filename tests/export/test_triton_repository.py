"""The Triton repository: files of the bundle, and configurations that Triton's own schema parses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from engines.load import CUDA_OPTIONS
from export.bundle import Bundle, BundleError
from export.triton_repository import write_triton_repository
from tests.export.linear_bundle import CLASSES, SIDE, write_linear_bundle


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return write_linear_bundle(tmp_path / "models")


def config(folder: Path) -> Any:
    return text_format.Parse((folder / "config.pbtxt").read_text(), model_config_pb2.ModelConfig())


def shapes(tensors: Any) -> dict[str, tuple[str, list[int], bool]]:
    """Type, axes and whether they are reshaped away, by name."""
    names = model_config_pb2.DataType.Name
    return {t.name: (names(t.data_type), list(t.dims), t.HasField("reshape")) for t in tensors}


def test_files_are_the_bundles(bundle: Bundle, tmp_path: Path) -> None:
    folders = write_triton_repository(bundle, tmp_path / "repository")
    assert [folder.name for folder in folders] == ["linear", "linear-gradient"]
    for folder, graph in zip(folders, ("classifier.onnx", "gradient.onnx"), strict=True):
        assert sorted(path.name for path in folder.iterdir()) == ["1", "config.pbtxt", "labels.txt"]
        for name in (graph, "weights.safetensors"):
            assert (folder / "1" / name).read_bytes() == bundle.file(name).read_bytes()
        assert (folder / "labels.txt").read_text().splitlines() == list(CLASSES)


def test_configurations(bundle: Bundle, tmp_path: Path) -> None:
    classifier, gradient = (
        config(folder) for folder in write_triton_repository(bundle, tmp_path, max_batch=32)
    )
    image = ("TYPE_FP32", [3, SIDE, SIDE], False)
    number = ("TYPE_INT64", [1], True)
    assert shapes(classifier.input) == {"images": image}
    assert shapes(classifier.output) == {"logits": ("TYPE_FP32", [4], False)}
    assert shapes(gradient.input) == {"images": image, "label": number, "target": number, "loss": number}
    assert shapes(gradient.output) == {
        "logits": ("TYPE_FP32", [4], False),
        "loss_value": ("TYPE_FP32", [1], True),
        "gradient": image,
    }
    for model, graph in ((classifier, "classifier.onnx"), (gradient, "gradient.onnx")):
        assert (model.backend, model.max_batch_size, model.default_model_filename) == (
            "onnxruntime",
            32,
            graph,
        )
        assert model.HasField("dynamic_batching")
        assert model.output[0].label_filename == "labels.txt"
        assert [warmup.batch_size for warmup in model.model_warmup] == [1, 32]
        assert set(model.model_warmup[0].inputs) == {tensor.name for tensor in model.input}
        assert model.parameters["clead_sha256_1"].string_value == bundle.sha256
        # HEURISTIC and kSameAsRequested: the backend reads its own numbers, not the accelerator's words.
        for name in ("cudnn_conv_algo_search", "arena_extend_strategy"):
            assert model.parameters[name].string_value == "1"
        (cuda,) = model.optimization.execution_accelerators.gpu_execution_accelerator
        assert (cuda.name, dict(cuda.parameters)) == ("cuda", CUDA_OPTIONS)


def test_for_tensorrt(bundle: Bundle, tmp_path: Path) -> None:
    folders = write_triton_repository(bundle, tmp_path, max_batch=32, accelerator="tensorrt")
    for folder, inputs in zip(folders, ("", ",label:{0},target:{0},loss:{0}"), strict=True):
        accelerators = config(folder).optimization.execution_accelerators.gpu_execution_accelerator
        assert [accelerator.name for accelerator in accelerators] == ["tensorrt", "cuda"]
        assert dict(accelerators[1].parameters) == CUDA_OPTIONS
        # No cache: versions share this file, and an engine of one would be taken for that of another.
        assert dict(accelerators[0].parameters) == {
            "precision_mode": "FP32",
            **{
                f"trt_profile_{end}_shapes": f"images:{batch}x3x{SIDE}x{SIDE}" + inputs.format(batch)
                for end, batch in (("min", 1), ("opt", 8), ("max", 32))
            },
        }


def test_tensorrt_is_for_the_onnxruntime_backend(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(
        BundleError, match="the backend python runs on CUDA: ask for tensorrt with onnxruntime"
    ):
        write_triton_repository(bundle, tmp_path, backend="python", accelerator="tensorrt")
    assert list(tmp_path.glob("linear*")) == []


def test_for_the_python_backend(bundle: Bundle, tmp_path: Path) -> None:
    packages = tmp_path / "packages"
    python = write_triton_repository(bundle, tmp_path / "python", backend="python", packages=packages)
    onnxruntime = write_triton_repository(bundle, tmp_path / "onnxruntime")
    for folder, other, graph in zip(python, onnxruntime, ("classifier.onnx", "gradient.onnx"), strict=True):
        assert {path.name for path in (folder / "1").iterdir()} == {
            graph,
            "model.py",
            "packages.txt",
            "weights.safetensors",
        }
        assert (folder / "1" / "packages.txt").read_text() == f"{packages}\n"
        model, expected = config(folder), config(other)
        # The rest of the two configurations is the same.
        assert (model.backend, model.parameters["graph"].string_value) == ("python", graph)
        expected.backend = "python"
        expected.default_model_filename = ""
        expected.parameters["graph"].string_value = graph
        for name in ("cudnn_conv_algo_search", "arena_extend_strategy"):
            del expected.parameters[name]
        assert model == expected


def test_python_uses_the_packages_of_this_environment(bundle: Bundle, tmp_path: Path) -> None:
    folder, _ = write_triton_repository(bundle, tmp_path, backend="python")
    packages = Path((folder / "1" / "packages.txt").read_text().strip())
    assert (packages / "onnxruntime" / "__init__.py").is_file()


def test_versions_have_one_backend(bundle: Bundle, tmp_path: Path) -> None:
    write_triton_repository(bundle, tmp_path / "repository")
    second = write_linear_bundle(tmp_path / "models", version="2")
    with pytest.raises(BundleError, match=r"for the backend onnxruntime.*--backend onnxruntime"):
        write_triton_repository(second, tmp_path / "repository", backend="python")
    assert not (tmp_path / "repository" / "linear" / "2").exists()


def test_packages_are_for_python(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="needs no Python packages"):
        write_triton_repository(bundle, tmp_path, packages=tmp_path)


def test_classifying_goes_before_probing(bundle: Bundle, tmp_path: Path) -> None:
    groups = [config(folder).instance_group[0] for folder in write_triton_repository(bundle, tmp_path)]
    limits = [group.rate_limiter for group in groups]
    assert limits[0].priority < limits[1].priority
    (classifying,), (probing,) = (limit.resources for limit in limits)
    assert classifying.name == probing.name
    # Triton provides what the neediest instance asks for: room for all classifiers, or for one gradient.
    provided = max(classifying.count, probing.count)
    assert groups[0].count == 2
    assert groups[0].count * classifying.count == probing.count == provided


def test_versions_lie_side_by_side(bundle: Bundle, tmp_path: Path) -> None:
    second = write_linear_bundle(tmp_path / "models", version="2")
    write_triton_repository(bundle, tmp_path / "repository")
    folder, _ = write_triton_repository(second, tmp_path / "repository")
    assert sorted(path.name for path in folder.iterdir() if path.is_dir()) == ["1", "2"]
    parameters = config(folder).parameters
    assert parameters["clead_sha256_1"].string_value == bundle.sha256
    assert parameters["clead_sha256_2"].string_value == second.sha256
    assert config(folder).version_policy.HasField("all")


def test_a_version_is_not_overwritten(bundle: Bundle, tmp_path: Path) -> None:
    write_triton_repository(bundle, tmp_path / "repository")
    with pytest.raises(BundleError, match="exists"):
        write_triton_repository(bundle, tmp_path / "repository")


def test_a_damaged_configuration_is_named(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "linear").mkdir()
    (tmp_path / "linear" / "config.pbtxt").write_text("name: {")
    with pytest.raises(BundleError, match=r"config\.pbtxt is not a Triton model configuration"):
        write_triton_repository(bundle, tmp_path)
    assert [path.name for path in (tmp_path / "linear").iterdir()] == ["config.pbtxt"]


def test_impossible_batch(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="at least 1"):
        write_triton_repository(bundle, tmp_path, max_batch=0)
