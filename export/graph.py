"""From a traced program to the bytes of an ONNX file whose weights lie in weights.safetensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx_ir as ir
import torch

from export.bundle import WEIGHTS
from export.weights import Span

OPSET = 18
"""Every ONNX Runtime since 1.14 takes it, so those of Triton and TensorRT do too."""
IR_VERSION = 10


def onnx_file(
    program: torch.export.ExportedProgram,
    *,
    inputs: Sequence[str],
    outputs: Sequence[str],
    spans: Mapping[str, Span],
) -> bytes:
    """The ONNX file of `program`, with standard operators only.

    Args:
        program: takes `inputs` and then the weights, in the order of `spans`.
        inputs: names of its inputs before the weights.
        outputs: names of its outputs.
        spans: place of every weight in the weights file, which the graph names as external data.
    """
    exported = torch.onnx.export(
        program,
        dynamo=True,
        opset_version=OPSET,
        input_names=[*inputs, *spans],
        output_names=list(outputs),
        verbose=False,
    )
    if exported is None:
        raise RuntimeError("torch.onnx.export returned no program")
    model = exported.model
    model.ir_version = IR_VERSION
    model.producer_name, model.producer_version = "clead-serve", None
    _point_at_weights(model.graph, count=len(inputs), spans=spans)
    _forget_source(model)
    proto = ir.to_proto(model)
    data: bytes = proto.SerializeToString(deterministic=True)
    return data


def _point_at_weights(graph: ir.Graph, *, count: int, spans: Mapping[str, Span]) -> None:
    for value in graph.inputs[count:]:
        if value.name is None or value.shape is None or value.dtype is None:
            raise RuntimeError(f"the exporter left an input without name, shape or type: {value}")
        span = spans[value.name]
        value.const_value = ir.ExternalTensor(
            WEIGHTS, span.offset, span.length, value.dtype, shape=value.shape, name=value.name, base_dir=""
        )
        graph.register_initializer(value)
    del graph.inputs[count:]


def _forget_source(model: ir.Model) -> None:
    """Drops what the exporter notes about source files: paths of this machine, most of the size."""
    model.metadata_props.clear()
    model.graph.metadata_props.clear()
    model.graph.doc_string = None
    for node in model.graph:
        node.metadata_props.clear()
        node.doc_string = None
        for value in (*node.inputs, *node.outputs):
            if value is not None:
                value.metadata_props.clear()
                value.doc_string = None
    for value in (*model.graph.inputs, *model.graph.outputs, *model.graph.initializers.values()):
        value.metadata_props.clear()
