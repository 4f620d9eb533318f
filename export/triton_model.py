"""The model that Triton's python backend runs: the ONNX file beside it, on ONNX Runtime.

`export.triton_repository` copies this file into a Triton repository as model.py; there it runs by itself, in
a process of Triton's that sees no virtual environment: the file packages.txt beside it names the folder in
which NumPy and ONNX Runtime are installed. The rest that differs between models stands in config.pbtxt: the
parameter `graph` names the graph, `optimization` the options of its execution providers.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, Path(__file__).with_name("packages.txt").read_text(encoding="utf-8").strip())

import numpy as np
import onnxruntime
import triton_python_backend_utils as triton
from numpy.typing import NDArray

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"


class TritonPythonModel:
    """What Triton's python backend looks for in model.py. Each instance of a model has its own process."""

    def initialize(self, args: Mapping[str, str]) -> None:
        """Loads the graph.

        Raises:
            triton.TritonModelException: the graph does not load.
        """
        config = json.loads(args["model_config"])
        graph = Path(__file__).with_name(config["parameters"]["graph"]["string_value"])
        options = onnxruntime.SessionOptions()
        # The instances are processes that share the cores: threads without work have to sleep.
        options.intra_op_num_threads = _threads(config)
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        providers = _providers(config, args)
        try:
            self._session = onnxruntime.InferenceSession(
                str(graph), sess_options=options, providers=providers
            )
        except Exception as error:  # ONNX Runtime's exceptions share no base class of their own
            raise triton.TritonModelException(f"ONNX Runtime does not load {graph}: {error}") from error
        # Without this a failing run would rebuild the session on another provider, unseen.
        self._session.disable_fallback()
        used, wished = self._session.get_providers()[0], providers[0][0]
        if used != wished:
            triton.Logger.log_warn(
                f"{graph} runs on {used}: ONNX Runtime could not use {wished}, its log says why"
            )
        # Numbers per image are [N] in the graph, and [N, 1] in Triton, which knows no tensors of one axis.
        self._inputs = {tensor["name"]: _axes(tensor) for tensor in config["input"]}
        self._outputs = {tensor["name"]: tuple(tensor["dims"]) for tensor in config["output"]}

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answers the requests of one dynamic batch with one run of the graph.

        If that fails, each of them is answered with the error.
        """
        try:
            sizes: list[int] = []
            columns: dict[str, list[NDArray[Any]]] = {name: [] for name in self._inputs}
            for request in requests:
                for name, axes in self._inputs.items():
                    array = triton.get_input_tensor_by_name(request, name).as_numpy()
                    columns[name].append(array.reshape(len(array), *axes))
                sizes.append(len(columns["images"][-1]))
            feed = {name: np.concatenate(arrays) for name, arrays in columns.items()}
            arrays = self._session.run(list(self._outputs), feed)
        except Exception as error:  # ONNX Runtime's exceptions share no base class of their own
            failure = triton.TritonError(
                f"ONNX Runtime failed on a batch of {len(requests)} requests: {error}"
            )
            return [triton.InferenceResponse(error=failure) for _ in requests]
        answers = dict(zip(self._outputs, arrays, strict=True))
        ends = np.cumsum(sizes)
        return [
            self._response(request, answers, slice(end - size, end))
            for request, size, end in zip(requests, sizes, ends, strict=True)
        ]

    def _response(self, request: Any, answers: Mapping[str, NDArray[Any]], rows: slice) -> Any:
        tensors = [
            triton.Tensor(name, np.ascontiguousarray(answers[name][rows].reshape(-1, *self._outputs[name])))
            for name in request.requested_output_names()
        ]
        return triton.InferenceResponse(output_tensors=tensors)


def _axes(tensor: Mapping[str, Any]) -> tuple[int, ...]:
    shape = tensor["reshape"]["shape"] if "reshape" in tensor else tensor["dims"]
    return tuple(shape)


def _threads(config: Mapping[str, Any]) -> int:
    """The share of the cores for one of the instances of a model."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    instances: int = sum(group["count"] for group in config["instance_group"])
    return max(1, cores // max(1, instances))


def _providers(config: Mapping[str, Any], args: Mapping[str, str]) -> list[tuple[str, dict[str, str]]]:
    """CUDA with the options of config.pbtxt for an instance on a GPU, and the CPU."""
    cpu: tuple[str, dict[str, str]] = (CPU, {})
    if args["model_instance_kind"] != "GPU":
        return [cpu]
    # CUDA's libraries may be Python packages, which the loader does not find by itself.
    onnxruntime.preload_dlls()
    accelerators = config["optimization"]["execution_accelerators"]["gpu_execution_accelerator"]
    options = next(one["parameters"] for one in accelerators if one["name"] == "cuda")
    return [(CUDA, options | {"device_id": args["model_instance_device_id"]}), cpu]
