"""A server that speaks Triton's gRPC protocol over loopback and serves a repository as Triton does.

It reads the repository's config.pbtxt with Triton's schema, and holds requests to it: names, types, shapes,
the largest batch, axes that `reshape` takes away. ONNX Runtime computes. What it does not imitate is Triton's
scheduling.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import onnxruntime
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2, service_pb2, service_pb2_grpc

_TYPES = {"TYPE_FP32": ("FP32", np.float32), "TYPE_INT64": ("INT64", np.int64)}


@dataclass(slots=True)
class Behaviour:
    """What a test may change while the server runs."""

    failure: grpc.StatusCode | None = None
    failures: list[grpc.StatusCode] = field(default_factory=list)
    """How the next calls fail, one each."""
    hang: threading.Event | None = None
    waiting: int = 0
    """Inferences that came while it hung."""
    forget_output: bool = False
    empty_output: bool = False
    batches: list[tuple[str, int]] = field(default_factory=list)


class TritonService(service_pb2_grpc.GRPCInferenceServiceServicer):
    """The calls that the engine makes."""

    def __init__(self, repository: Path, behaviour: Behaviour) -> None:
        self._repository = repository
        self._behaviour = behaviour

    def ServerMetadata(self, request: Any, context: grpc.ServicerContext) -> Any:
        return service_pb2.ServerMetadataResponse(name="triton", version="2.65.0")

    def ModelReady(self, request: Any, context: grpc.ServicerContext) -> Any:
        return service_pb2.ModelReadyResponse(
            ready=(self._repository / request.name / request.version).is_dir()
        )

    def ModelConfig(self, request: Any, context: grpc.ServicerContext) -> Any:
        return service_pb2.ModelConfigResponse(config=self._config(request.name))

    def ModelInfer(self, request: Any, context: grpc.ServicerContext) -> Any:
        if self._behaviour.hang is not None:
            self._behaviour.waiting += 1
            self._behaviour.hang.wait()
        if self._behaviour.failures:
            context.abort(self._behaviour.failures.pop(0), "told to fail")
        if self._behaviour.failure is not None:
            context.abort(self._behaviour.failure, "told to fail")
        config = self._config(request.model_name)
        try:
            feed = self._feed(config, request)
        except ValueError as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        self._behaviour.batches.append((request.model_name, len(feed["images"])))
        graph = self._repository / config.name / request.model_version / config.default_model_filename
        session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
        wanted = [output.name for output in request.outputs]
        answer = service_pb2.ModelInferResponse(model_name=config.name, model_version=request.model_version)
        declared = {output.name: output for output in config.output}
        answers = list(zip(wanted, session.run(wanted, feed), strict=True))
        for name, values in answers[int(self._behaviour.forget_output) :]:
            shape = (len(values), *declared[name].dims)
            data_type = _TYPES[model_config_pb2.DataType.Name(declared[name].data_type)][0]
            answer.outputs.add(name=name, datatype=data_type, shape=shape)
            content = b"" if self._behaviour.empty_output else values.reshape(shape).tobytes()
            answer.raw_output_contents.append(content)
        return answer

    def _config(self, model: str) -> Any:
        return text_format.Parse(
            (self._repository / model / "config.pbtxt").read_text(), model_config_pb2.ModelConfig()
        )

    def _feed(self, config: Any, request: Any) -> dict[str, np.ndarray]:
        if [tensor.name for tensor in request.inputs] != [tensor.name for tensor in config.input]:
            raise ValueError("inputs do not have the names of the configuration")
        feed = {}
        for declared, given, raw in zip(
            config.input, request.inputs, request.raw_input_contents, strict=True
        ):
            data_type, dtype = _TYPES[model_config_pb2.DataType.Name(declared.data_type)]
            batch, *axes = given.shape
            if given.datatype != data_type or axes != list(declared.dims):
                raise ValueError(f"{given.name} is {given.datatype}{list(given.shape)}")
            if batch > config.max_batch_size:
                raise ValueError(f"a batch of {batch} is larger than {config.max_batch_size}")
            shape = (batch, *declared.reshape.shape) if declared.HasField("reshape") else given.shape
            feed[given.name] = np.frombuffer(raw, dtype).reshape(shape)
        return feed


@contextmanager
def triton_server(repository: Path, behaviour: Behaviour, *, port: int = 0) -> Iterator[str]:
    """Serves `repository` on `port` of the loopback interface (0: a free one); gives the address."""
    server = grpc.server(ThreadPoolExecutor(max_workers=8))
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(TritonService(repository, behaviour), server)
    port = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        if behaviour.hang is not None:
            behaviour.hang.set()
        server.stop(grace=None).wait()
