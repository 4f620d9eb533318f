"""A bundle that needs no torch: logits = images . weights, in closed form, with its weights as external data.

Its loss is minus the label's logit, so the gradient is minus that class's weights, whatever `loss` and
`target` say.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
from safetensors.numpy import save

from export.bundle import Bundle, Description, write_bundle
from tests.export.handwritten_bundle import handwritten_description, handwritten_files

CLASSES = ("cat", "dog", "horse", "ship")
SIDE = 4
VALUES = 3 * SIDE * SIDE
NAME = "linear"

_LOGITS = f"""
    flat_shape = Constant <value_ints = [-1, {VALUES}]> ()
    flat = Reshape (images, flat_shape)
    logits = MatMul (flat, weights)
"""
_CLASSIFIER = f"""
<ir_version: 10, opset_import: ["" : 18]>
classifier (float[batch, 3, {SIDE}, {SIDE}] images) => (float[batch, 4] logits)
<float[{VALUES}, 4] weights = {{}}> {{{_LOGITS}}}
"""
_GRADIENT = f"""
<ir_version: 10, opset_import: ["" : 18]>
gradient (float[batch, 3, {SIDE}, {SIDE}] images, int64[batch] label, int64[batch] target, int64[batch] loss)
=> (float[batch, 4] logits, float[batch] loss_value, float[batch, 3, {SIDE}, {SIDE}] gradient)
<float[{VALUES}, 4] weights = {{}}> {{{_LOGITS}
    column = Gather <axis = 1> (weights, label)
    row = Transpose <perm = [1, 0]> (column)
    negative = Neg (row)
    image_shape = Constant <value_ints = [-1, 3, {SIDE}, {SIDE}]> ()
    gradient = Reshape (negative, image_shape)
    last = Constant <value_ints = [1]> ()
    position = Unsqueeze (label, last)
    chosen = GatherElements <axis = 1> (logits, position)
    single = Squeeze (chosen, last)
    loss_value = Neg (single)
}}
"""


def class_weights(seed: int = 0) -> np.ndarray:
    """float32[VALUES, 4]."""
    return np.random.default_rng(seed).normal(size=(VALUES, len(CLASSES))).astype(np.float32)


def linear_description(*, name: str = NAME, version: str = "1") -> Description:
    """The manifest of the bundle, without its files."""
    return handwritten_description(
        name=name, version=version, classes=CLASSES, side=SIDE, architecture="linear"
    )


def linear_files(
    *, weights: np.ndarray | None = None, location: str = "weights.safetensors"
) -> dict[str, bytes]:
    """The content of every file; `location` is where the graphs look for their weights."""
    weights = class_weights() if weights is None else weights
    data = save({"weights": weights})
    return handwritten_files(
        classifier=_graph(_CLASSIFIER, data, location),
        gradient=_graph(_GRADIENT, data, location),
        weights=data,
        sample=linear_sample(class_weights()),
    )


def linear_sample(weights: np.ndarray) -> dict[str, np.ndarray]:
    """Arguments and answers for six images."""
    images = np.random.default_rng(1).random((6, 3, SIDE, SIDE)).astype(np.float32)
    logits = images.reshape(6, -1) @ weights
    label = np.arange(6, dtype=np.int64) % 4
    return {
        "images": images,
        "label": label,
        "target": np.full(6, -1, np.int64),
        "loss": np.arange(6, dtype=np.int64) % 3,
        "logits": logits,
        "loss_value": -logits[np.arange(6), label],
        "gradient": -weights[:, label].T.reshape(6, 3, SIDE, SIDE),
    }


def write_linear_bundle(models: Path, *, name: str = NAME, version: str = "1") -> Bundle:
    """Publishes the bundle as `models/<name>/<version>`."""
    return write_bundle(models / name, linear_description(name=name, version=version), linear_files())


def rewrite(bundle: Bundle, files: Mapping[str, bytes]) -> None:
    """Replaces files of a published bundle and makes its manifest agree, as a careful forger would."""
    manifest = json.loads((bundle.path / "manifest.json").read_bytes())
    for name, content in files.items():
        (bundle.path / name).write_bytes(content)
        manifest["files"][name] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    (bundle.path / "manifest.json").write_text(json.dumps(manifest))


def _graph(text: str, weights_file: bytes, location: str) -> onnx.ModelProto:
    model = onnx.parser.parse_model(text)
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name == "weights")
    length = VALUES * len(CLASSES) * 4
    tensor.ClearField("float_data")
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    offset = len(weights_file) - length
    for key, value in {"location": location, "offset": str(offset), "length": str(length)}.items():
        tensor.external_data.add(key=key, value=value)
    return model
