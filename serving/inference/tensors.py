"""The values of tensors: images from bytes or from JSON lists, and answers to bytes. No HTTP.

Binary tensors are little-endian, in row-major order, without padding; a string is its length in four bytes
and then its UTF-8 (NVIDIA Triton's extension "binary tensor data").
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.manifest import InputSpec
from serving.problems import Problem

INPUT = "images"
OUTPUT = "logits"
DATATYPE = "FP32"
STRINGS = "BYTES"
ITEM_BYTES = 4
SHOWN = 80
"""So many characters of what was sent are repeated in an answer."""

Shape = tuple[int, int, int, int]


def check_shape(datatype: str, shape: Sequence[int], *, spec: InputSpec, max_images: int) -> Shape:
    """The shape of a batch for a model that takes `spec`.

    Raises:
        Problem: invalid_tensor, or too_many_images.
    """
    if datatype != DATATYPE:
        raise invalid_tensor(f"the datatype of {INPUT!r} is {datatype[:SHOWN]!r}; send {DATATYPE}")
    image = (spec.channels, spec.height, spec.width)
    if len(shape) != 4 or tuple(shape[1:]) != image or shape[0] < 1:
        raise invalid_tensor(
            f"the shape of {INPUT!r} is {str(list(shape))[:SHOWN]}; this model takes "
            f"[N, {', '.join(map(str, image))}] with N from 1 to {max_images}"
        )
    if shape[0] > max_images:
        raise Problem("too_many_images", f"at most {max_images} images are accepted", limit=max_images)
    return (shape[0], *image)


def from_bytes(body: bytes, shape: Shape, *, offset: int) -> NDArray[np.float32]:
    """The images that end `body`, float32[N, 3, H, W] in [0, 1]. They are not copied if they are aligned.

    Raises:
        Problem: invalid_tensor, for another number of bytes, or a value that is not in [0, 1].
    """
    found, needed = len(body) - offset, math.prod(shape) * ITEM_BYTES
    if found != needed:
        raise invalid_tensor(
            f"{found} bytes stand behind the JSON; {DATATYPE} of shape {list(shape)} takes {needed}"
        )
    return _in_range(np.frombuffer(body, "<f4", offset=offset).reshape(shape))


def from_lists(data: Any, shape: Shape) -> NDArray[np.float32]:
    """The images of a flat JSON list, or of lists nested as `shape`: float32[N, 3, H, W] in [0, 1].

    Raises:
        Problem: invalid_tensor, for another number of values, or one that is no number in [0, 1].
    """
    # As objects, for NumPy would take "1" and true for numbers.
    array = np.array(data, dtype=object)
    if array.shape not in (shape, (math.prod(shape),)):
        raise invalid_tensor(
            f"'data' is neither one flat list of {math.prod(shape)} numbers nor lists nested as {list(shape)}"
        )
    if not set(map(type, array.flat)) <= {int, float}:
        raise invalid_tensor("'data' holds something that is no number: send numbers in [0, 1]")
    try:
        with np.errstate(over="ignore"):
            return _in_range(array.astype(np.float32).reshape(shape))
    except OverflowError:
        raise _outside("far too large") from None


def strings_to_bytes(strings: Iterable[str]) -> bytes:
    """Strings as a binary tensor of type BYTES."""
    encoded = [string.encode() for string in strings]
    return b"".join(len(item).to_bytes(ITEM_BYTES, "little") + item for item in encoded)


def invalid_tensor(detail: str) -> Problem:
    """The problem of a tensor that this model does not take or give."""
    return Problem("invalid_tensor", detail)


def _in_range(values: NDArray[np.float32]) -> NDArray[np.float32]:
    low, high = values.min(), values.max()
    # Comparisons with NaN are false.
    if not (low >= 0 and high <= 1):
        raise _outside(f"from {low:g} to {high:g}")
    # The JSON may end anywhere, and engines expect numbers at addresses that are multiples of their size.
    return np.require(values, np.float32, "A")


def _outside(found: str) -> Problem:
    return invalid_tensor(f"the values of {INPUT!r} are {found}; send finite numbers in [0, 1]")
