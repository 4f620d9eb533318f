"""What loading must know about an ONNX file, read without the onnx package: names, opsets, external data.

Only the few protobuf fields below are declared; everything else in the file is skipped as unknown. Field
numbers are those of the ONNX schema (onnx.proto, IR version 10), which never change.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from export.manifest import BundleError

_SCALARS = {
    "int64": descriptor_pb2.FieldDescriptorProto.TYPE_INT64,
    "string": descriptor_pb2.FieldDescriptorProto.TYPE_STRING,
}
_MESSAGES: dict[str, tuple[tuple[str, int, str], ...]] = {
    "Entry": (("key", 1, "string"), ("value", 2, "string")),
    "Opset": (("domain", 1, "string"), ("version", 2, "int64")),
    "Tensor": (("name", 8, "string"), ("external_data", 13, "Entry*")),
    "SparseTensor": (("values", 1, "Tensor"), ("indices", 2, "Tensor")),
    "Value": (("name", 1, "string"),),
    "Attribute": (
        ("t", 5, "Tensor"),
        ("g", 6, "Graph"),
        ("tensors", 10, "Tensor*"),
        ("graphs", 11, "Graph*"),
    ),
    "Node": (("op_type", 4, "string"), ("attribute", 5, "Attribute*"), ("domain", 7, "string")),
    "Graph": (
        ("node", 1, "Node*"),
        ("initializer", 5, "Tensor*"),
        ("input", 11, "Value*"),
        ("output", 12, "Value*"),
        ("sparse_initializer", 15, "SparseTensor*"),
    ),
    "Function": (("node", 7, "Node*"),),
    "Model": (
        ("ir_version", 1, "int64"),
        ("graph", 7, "Graph"),
        ("opset_import", 8, "Opset*"),
        ("functions", 25, "Function*"),
    ),
}
_STANDARD_DOMAINS = ("", "ai.onnx")


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxHeader:
    """Inputs and outputs in order, IR version, opset of the standard domain, external data locations."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    ir_version: int
    opset: int
    external_locations: frozenset[str]


@cache
def _model_class() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="clead_onnx_header.proto", package="clead")
    for message_name, fields in _MESSAGES.items():
        message = file.message_type.add(name=message_name)
        for name, number, kind in fields:
            repeated = kind.endswith("*")
            field = message.field.add(name=name, number=number)
            field.label = field.LABEL_REPEATED if repeated else field.LABEL_OPTIONAL
            if kind in _SCALARS:
                field.type = _SCALARS[kind]
            else:
                field.type = field.TYPE_MESSAGE
                field.type_name = f".clead.{kind.rstrip('*')}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("clead.Model"))


def _tensors(nodes: Any) -> Iterator[Any]:
    for node in nodes:
        for attribute in node.attribute:
            yield attribute.t
            yield from attribute.tensors
            for graph in (attribute.g, *attribute.graphs):
                yield from _graph_tensors(graph)


def _graph_tensors(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield sparse.values
        yield sparse.indices
    yield from _tensors(graph.node)


def read_header(data: bytes, *, source: str) -> OnnxHeader:
    """Reads the header of the ONNX file `data`; `source` is the name that errors give.

    Raises:
        BundleError: not an ONNX file, or one that needs operators outside the standard domain.
    """
    model = _model_class()()
    try:
        model.ParseFromString(data)
    except DecodeError as error:
        raise BundleError(f"{source} is not an ONNX file: export the bundle again") from error
    foreign = sorted({opset.domain for opset in model.opset_import} - set(_STANDARD_DOMAINS))
    if foreign:
        raise BundleError(f"{source} needs operators of {foreign}: only standard ONNX operators are accepted")
    versions = [opset.version for opset in model.opset_import]
    if len(versions) != 1:
        raise BundleError(f"{source} names {len(versions)} opsets of the standard domain instead of one")
    tensors = list(_graph_tensors(model.graph))
    for function in model.functions:
        tensors.extend(_tensors(function.node))
    entries = [entry for tensor in tensors for entry in tensor.external_data]
    return OnnxHeader(
        inputs=tuple(value.name for value in model.graph.input),
        outputs=tuple(value.name for value in model.graph.output),
        ir_version=model.ir_version,
        opset=versions[0],
        external_locations=frozenset(entry.value for entry in entries if entry.key == "location"),
    )
