"""A Triton model repository from a bundle: the classifier, and the gradient graph with less priority.

    <out>/<name>/config.pbtxt, labels.txt, <version>/classifier.onnx, weights.safetensors
    <out>/<name>-gradient/config.pbtxt, labels.txt, <version>/gradient.onnx, weights.safetensors

Files are those of the bundle, byte for byte; for Triton's python backend model.py
(`export/triton_model.py`) and packages.txt stand beside them. Options follow Triton's model configuration;
`engines.triton` asks for these names.
"""

from __future__ import annotations

import shutil
import sysconfig
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from engines.load import CUDA_OPTIONS
from engines.tensorrt_options import profiles
from engines.triton import sha256_parameter, triton_model_names
from export.bundle import CLASSIFIER, GRADIENT, WEIGHTS, Bundle, BundleError, InputSpec

Backend = Literal["onnxruntime", "python"]
BACKENDS: tuple[Backend, ...] = get_args(Backend)
Accelerator = Literal["cuda", "tensorrt"]
CONFIG = "config.pbtxt"
MODEL = "model.py"
PACKAGES = "packages.txt"
_MODEL_SOURCE = Path(__file__).with_name("triton_model.py")
LABELS = "labels.txt"
MAX_BATCH = 64
_CUDA_PARAMETERS = {"cudnn_conv_algo_search": "1", "arena_extend_strategy": "1"}
"""HEURISTIC and kSameAsRequested in the backend's own numbers: what `CUDA_OPTIONS` says of them."""
_RESOURCE = "clead_execution"
"""What an instance needs while it runs, where Triton runs with --rate-limit=execution_count. There is as much
of it as the instance needs that needs most: all instances of a classifier run at the same time, or one of a
gradient model alone. They take turns by priority.
"""
_CLASSIFIERS = 2
"""Instances of a classifier: one copies its images while the other computes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tensor:
    name: str
    type: str
    dims: tuple[int, ...]
    """Without the batch axis; () for one number per image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Model:
    name: str
    graph: str
    inputs: tuple[_Tensor, ...]
    outputs: tuple[_Tensor, ...]
    instances: int
    share: int
    """Of what there is of `_RESOURCE`, for each instance."""
    priority: int
    """Triton gives an instance of priority p one chance to run where priority 1 gets p."""


def write_triton_repository(
    bundle: Bundle,
    out: Path,
    *,
    max_batch: int = MAX_BATCH,
    backend: Backend = "onnxruntime",
    accelerator: Accelerator = "cuda",
    packages: Path | None = None,
) -> tuple[Path, Path]:
    """Adds the bundle to the Triton repository `out`, beside the models and versions that are there.

    Each version appears under its number at once, complete, so that a polling Triton never reads half of it.

    Args:
        backend: what loads the graphs in Triton; "python" for a Triton without the onnxruntime backend.
        accelerator: what computes on a GPU with the backend "onnxruntime". TensorRT (in float32, which
            robustness was measured in) takes what it can, CUDA the rest. It has not been run.
        packages: with the backend "python", the folder on Triton's machine in which ONNX Runtime is
            installed for the Python that Triton embeds; this environment's own without it.

    Returns:
        The folders of the classifier and of the gradient model.

    Raises:
        BundleError: the repository holds this version already, or others for another backend, or cannot be
            written.
    """
    if max_batch < 1:
        raise BundleError(f"max_batch is {max_batch}: Triton batches at least 1 image")
    if packages is not None and backend != "python":
        raise BundleError(
            f"the backend {backend} needs no Python packages: leave them out, or ask for python"
        )
    if accelerator != "cuda" and backend != "onnxruntime":
        raise BundleError(f"the backend {backend} runs on CUDA: ask for {accelerator} with onnxruntime")
    version = bundle.manifest.version
    models = _models(bundle)
    for model in models:
        if (out / model.name / version).exists():
            raise BundleError(f"{out / model.name / version} exists: remove it, or write to another folder")
    try:
        existing = [_existing_config(out / model.name / CONFIG, backend=backend) for model in models]
        for model, before in zip(models, existing, strict=True):
            config = _config(bundle, model, before, max_batch=max_batch)
            _add_backend(config, model, backend=backend)
            if accelerator == "tensorrt":
                _add_tensorrt(bundle, config, model, max_batch=max_batch)
            _write_model(bundle, model, config, out / model.name, packages=packages)
    except OSError as error:
        raise BundleError(f"cannot write the Triton repository {out}: {error}") from error
    return out / models[0].name, out / models[1].name


def _models(bundle: Bundle) -> tuple[_Model, _Model]:
    spec, classes = bundle.manifest.input, len(bundle.manifest.classes)
    classifier, gradient = triton_model_names(bundle.manifest.name)
    images = _images("images", spec)
    logits = _Tensor(name="logits", type="TYPE_FP32", dims=(classes,))
    numbers = tuple(_Tensor(name=name, type="TYPE_INT64", dims=()) for name in ("label", "target", "loss"))
    value = _Tensor(name="loss_value", type="TYPE_FP32", dims=())
    return (
        _Model(
            name=classifier,
            graph=CLASSIFIER,
            inputs=(images,),
            outputs=(logits,),
            instances=_CLASSIFIERS,
            share=1,
            priority=1,
        ),
        _Model(
            name=gradient,
            graph=GRADIENT,
            inputs=(images, *numbers),
            outputs=(logits, value, _images("gradient", spec)),
            instances=1,
            share=_CLASSIFIERS,
            priority=8,
        ),
    )


def _images(name: str, spec: InputSpec) -> _Tensor:
    return _Tensor(name=name, type="TYPE_FP32", dims=(spec.channels, spec.height, spec.width))


def _write_model(bundle: Bundle, model: _Model, config: Any, folder: Path, *, packages: Path | None) -> None:
    hidden = folder / f".incoming-{uuid.uuid4().hex}"
    try:
        hidden.mkdir(parents=True)
        for name in (model.graph, WEIGHTS):
            shutil.copyfile(bundle.file(name), hidden / name)
        if config.backend == "python":
            shutil.copyfile(_MODEL_SOURCE, hidden / MODEL)
            installed = packages or Path(sysconfig.get_path("platlib"))
            (hidden / PACKAGES).write_text(f"{installed.absolute()}\n", encoding="utf-8")
        _replace(
            folder / LABELS, "".join(f"{' '.join(label.split())}\n" for label in bundle.manifest.classes)
        )
        _replace(folder / CONFIG, text_format.MessageToString(config))
        hidden.rename(folder / bundle.manifest.version)
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


def _existing_config(path: Path, *, backend: Backend) -> Any:
    config = model_config_pb2.ModelConfig()
    if path.exists():
        try:
            text_format.Parse(path.read_text(), config)
        except text_format.ParseError as error:
            raise BundleError(
                f"{path} is not a Triton model configuration: {error}; remove or repair it"
            ) from error
        if config.backend != backend:
            raise BundleError(
                f"{path} is for the backend {config.backend}, and all versions of a model share one: "
                f"ask for --backend {config.backend}, or write to another folder"
            )
    return config


def _config(bundle: Bundle, model: _Model, existing: Any, *, max_batch: int) -> Any:
    config = model_config_pb2.ModelConfig(
        name=model.name,
        max_batch_size=max_batch,
        input=[_tensor(model_config_pb2.ModelInput, tensor) for tensor in model.inputs],
        output=[_tensor(model_config_pb2.ModelOutput, tensor) for tensor in model.outputs],
    )
    config.output[0].label_filename = LABELS
    config.version_policy.all.SetInParent()
    # An empty batcher is greedy: it takes what waits, and delays nothing.
    config.dynamic_batching.SetInParent()
    group = config.instance_group.add(
        count=model.instances, kind=model_config_pb2.ModelInstanceGroup.KIND_AUTO
    )
    group.rate_limiter.priority = model.priority
    group.rate_limiter.resources.add(name=_RESOURCE, count=model.share)
    for batch in sorted({1, max_batch}):
        config.model_warmup.append(_warmup(model.inputs, batch))
    # Written for the CPU as well: Triton looks at them where it has a GPU.
    config.optimization.execution_accelerators.gpu_execution_accelerator.add(
        name="cuda", parameters=CUDA_OPTIONS
    )
    for key, parameter in existing.parameters.items():
        config.parameters[key].CopyFrom(parameter)
    config.parameters[sha256_parameter(bundle.manifest.version)].string_value = bundle.sha256
    return config


def _add_backend(config: Any, model: _Model, *, backend: Backend) -> None:
    config.backend = backend
    if backend == "onnxruntime":
        config.default_model_filename = model.graph
        # Where a model has parameters, the backend takes these two from them, or its own defaults, whatever
        # the accelerator says.
        for key, value in _CUDA_PARAMETERS.items():
            config.parameters[key].string_value = value
        return
    # What the python backend loads as `default_model_filename` is model.py: that looks for its graph here.
    config.parameters["graph"].string_value = model.graph


def _add_tensorrt(bundle: Bundle, config: Any, model: _Model, *, max_batch: int) -> None:
    """Nothing is cached: one configuration serves all versions of a model, and ONNX Runtime's names for
    cached engines do not tell their weights apart.
    """
    accelerators = config.optimization.execution_accelerators.gpu_execution_accelerator
    accelerators.add(
        name="tensorrt",
        parameters={"precision_mode": "FP32", **profiles(bundle, model.graph, max_batch=max_batch)},
    )
    # Providers are asked in this order.
    accelerators.reverse()


def _tensor(kind: Any, tensor: _Tensor) -> Any:
    entry = kind(name=tensor.name, data_type=tensor.type, dims=tensor.dims or (1,))
    if not tensor.dims:
        # Triton has no tensors without axes beside the batch: one number per image is [1] outside the graph.
        entry.reshape.SetInParent()
    return entry


def _warmup(inputs: Sequence[_Tensor], batch: int) -> Any:
    """A first run before the model counts as ready: zeros are a valid label, target and loss."""
    warmup = model_config_pb2.ModelWarmup(name=f"batch of {batch}", batch_size=batch)
    for tensor in inputs:
        entry = warmup.inputs[tensor.name]
        entry.data_type = model_config_pb2.DataType.Value(tensor.type)
        entry.dims.extend(tensor.dims or (1,))
        entry.zero_data = True
    return warmup


def _replace(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
