"""A bundle whose answers are known in closed form: the most probable class is the strongest colour of the
image.

logit_c = SCALE * (mean of channel c). An l-inf perturbation of size eps changes the difference of two means
by at most 2 eps, so the smallest eps that flips an image away from 0 and 1 is half the difference of its two
strongest channels.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx.parser
from safetensors.numpy import save

from export.bundle import Bundle, write_bundle
from tests.export.handwritten_bundle import handwritten_description, handwritten_files

CLASSES = ("red", "green", "blue")
SIDE = 8
SCALE = 30.0
NAME = "colors"

_HEADER = '<ir_version: 8, opset_import: ["" : 18]>'
_LOGITS = f"""
    scale = Constant <value_float = {SCALE}> ()
    axes = Constant <value_ints = [2, 3]> ()
    means = ReduceMean <keepdims = 0> (images, axes)
    logits = Mul (means, scale)
"""
# The margin, whatever `loss` says: with linear logits every loss has the same sign of its gradient.
_GRADIENT = f"""{_LOGITS}
    zero = Constant <value_int = 0> ()
    targeted = GreaterOrEqual (target, zero)
    goal_class = Where (targeted, target, label)
    depth = Constant <value_ints = [3]> ()
    off_on = Constant <value_floats = [0.0, 1.0]> ()
    goal = OneHot <axis = -1> (goal_class, depth, off_on)
    huge = Constant <value_float = 1000000.0> ()
    lowered = Mul (goal, huge)
    others = Sub (logits, lowered)
    rival_class = ArgMax <axis = 1, keepdims = 0> (others)
    rival = OneHot <axis = -1> (rival_class, depth, off_on)
    difference = Sub (rival, goal)
    one = Constant <value_float = 1.0> ()
    minus = Constant <value_float = -1.0> ()
    sign = Where (targeted, minus, one)
    last = Constant <value_ints = [1]> ()
    sign_column = Unsqueeze (sign, last)
    cotangent = Mul (difference, sign_column)
    weighted = Mul (logits, cotangent)
    loss_value = ReduceSum <keepdims = 0> (weighted, last)
    scaled = Mul (cotangent, scale)
    corner = Unsqueeze (scaled, axes)
    shape = Shape (images)
    everywhere = Expand (corner, shape)
    one_image = Shape <start = 2> (images)
    pixels = ReduceProd (one_image)
    divisor = Cast <to = 1> (pixels)
    gradient = Div (everywhere, divisor)
"""


def write_color_bundle(models_dir: Path, *, name: str = NAME, version: str = "1", side: int = SIDE) -> Bundle:
    """Writes the bundle under `models_dir`, as export would, for images of `side` x `side` pixels."""
    pixels = f"float[N, 3, {side}, {side}]"
    classifier = f"{_HEADER} classifier ({pixels} images) => (float[N, 3] logits) {{{_LOGITS}}}"
    gradient = (
        f"{_HEADER} gradient ({pixels} images, int64[N] label, int64[N] target, int64[N] loss) "
        f"=> (float[N, 3] logits, float[N] loss_value, {pixels} gradient) {{{_GRADIENT}}}"
    )
    files = handwritten_files(
        classifier=onnx.parser.parse_model(classifier),
        gradient=onnx.parser.parse_model(gradient),
        weights=save({"scale": np.array([SCALE], np.float32)}),
        sample=_sample(side),
    )
    description = handwritten_description(
        name=name, version=version, classes=CLASSES, side=side, architecture="channel_means"
    )
    return write_bundle(models_dir / name, description, files)


def _sample(side: int) -> dict[str, np.ndarray]:
    images = np.random.default_rng(0).random((2, 3, side, side)).astype(np.float32)
    logits = SCALE * images.mean(axis=(2, 3))
    label = logits.argmax(axis=1).astype(np.int64)
    rival = np.argsort(logits, axis=1)[:, -2]
    corner = (np.eye(3)[rival] - np.eye(3)[label]) * (SCALE / side**2)
    return {
        "images": images,
        "label": label,
        "target": np.full(2, -1, np.int64),
        "loss": np.ones(2, np.int64),
        "logits": logits.astype(np.float32),
        "loss_value": (np.sort(logits)[:, -2] - np.sort(logits)[:, -1]).astype(np.float32),
        "gradient": np.broadcast_to(corner[:, :, None, None], images.shape).astype(np.float32).copy(),
    }
