"""From a traced program to the bytes of an ONNX file whose weights lie in weights.safetensors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import onnx_ir as ir
import torch

from export.bundle import WEIGHTS
from export.weights import Span

OPSET = 18
IR_VERSION = 10
"""Every ONNX Runtime since 1.18 takes these two, so the one that Triton brings does."""
BATCH_AXIS = "batch"


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
    _name_batch_axis(model.graph)
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
    for value in _values(model.graph):
        value.metadata_props.clear()
        value.doc_string = None


def _name_batch_axis(graph: ir.Graph) -> None:
    """Calls the open axis `batch` everywhere, where the exporter has a number of its own for it."""
    shape = graph.inputs[0].shape
    symbol = None if shape is None or isinstance(shape[0], int) else shape[0].value
    if symbol is None:
        raise RuntimeError("the traced program has a fixed batch size: this network's forward depends on it")
    for value in _values(graph):
        if value.shape is not None:
            value.shape = ir.Shape(
                [
                    dim
                    if isinstance(dim, int)
                    else ir.SymbolicDim(str(dim.value).replace(symbol, BATCH_AXIS))
                    for dim in value.shape
                ]
            )


def _values(graph: ir.Graph) -> Iterator[ir.Value]:
    yield from graph.inputs
    yield from graph.initializers.values()
    for node in graph:
        yield from node.outputs
