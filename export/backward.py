"""Backward passes by the *input* alone, written in operators that ONNX has.

PyTorch's backward operators have no ONNX counterpart, and most of them would compute weight gradients as
well. These decompositions are handed to `make_fx`, which puts them in place of the operators while it traces.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

_aten = torch.ops.aten


def input_gradient_decompositions() -> dict[Any, Callable[..., Any]]:
    """Decomposition table for `torch.fx.experimental.proxy_tensor.make_fx`."""
    return {
        _aten.convolution_backward.default: convolution_backward,
        _aten.max_pool2d_with_indices_backward.default: max_pool2d_backward,
        _aten.threshold_backward.default: threshold_backward,
    }


def convolution_backward(
    gradient: Tensor,
    images: Tensor,
    weight: Tensor,
    bias_sizes: Sequence[int] | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
    output_mask: Sequence[bool],
) -> tuple[Tensor, None, None]:
    """d / d images of a 2-d convolution; weights and bias get none, whatever `output_mask` asks.

    With stride 1 it is the convolution of the gradient with the kernel flipped and its channels swapped,
    which CPUs run faster than a transposed convolution; with other strides it is the transposed convolution.

    Raises:
        NotImplementedError: a transposed convolution, or not 2-d.
    """
    if transposed or len(stride) != 2:
        raise NotImplementedError("the gradient graph takes 2-d convolutions only, not transposed ones")
    kernel = weight.shape[2:]
    full = [d * (k - 1) - p for d, k, p in zip(dilation, kernel, padding, strict=True)]
    if groups == 1 and all(s == 1 for s in stride) and min(full) >= 0:
        swapped = weight.transpose(0, 1)
        if math.prod(kernel) > 1:
            swapped = swapped.flip(2, 3)
        return (
            _aten.convolution(gradient, swapped, None, [1, 1], full, dilation, False, [0, 0], 1),
            None,
            None,
        )
    missing = [
        images.shape[axis + 2]
        - ((gradient.shape[axis + 2] - 1) * stride[axis] - padding[axis] + full[axis] + 1)
        for axis in range(2)
    ]
    back = _aten.convolution(gradient, weight, None, stride, padding, dilation, True, missing, groups)
    return back, None, None


def max_pool2d_backward(
    gradient: Tensor,
    images: Tensor,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    ceil_mode: bool,
    indices: Tensor,
) -> Tensor:
    """d / d images of max pooling, without its indices, which TensorRT's max pooling does not give.

    Each place of the window takes the gradient where it holds the maximum and no earlier place does: the
        first of equal values wins, as in PyTorch. A transposed convolution with one-hot kernels then adds the
        places up.

    Raises:
        NotImplementedError: dilation or ceil_mode.
    """
    if ceil_mode or any(d != 1 for d in dilation):
        raise NotImplementedError(
            "the gradient graph takes max pooling without dilation and without ceil_mode"
        )
    (k_h, k_w), (s_h, s_w), (p_h, p_w) = kernel_size, stride or kernel_size, padding
    samples, channels, height, width = images.shape
    out_h, out_w = gradient.shape[2:]
    maxima = _aten.max_pool2d_with_indices(images, kernel_size, [s_h, s_w], padding)[0]
    padded = _aten.constant_pad_nd(images, [p_w, p_w, p_h, p_h], -math.inf)
    zero = torch.zeros((), dtype=gradient.dtype)
    open_places = gradient
    places = []
    for row in range(k_h):
        for column in range(k_w):
            rows = padded[:, :, row : row + s_h * (out_h - 1) + 1 : s_h]
            values = rows[:, :, :, column : column + s_w * (out_w - 1) + 1 : s_w]
            hit = values == maxima
            places.append(torch.where(hit, open_places, zero))
            # What one place has taken, a later equal one must not take again.
            open_places = torch.where(hit, zero, open_places)
    stacked = torch.stack(places, dim=2).reshape(samples * channels, k_h * k_w, out_h, out_w)
    one_hot = torch.eye(k_h * k_w, dtype=gradient.dtype).reshape(k_h * k_w, 1, k_h, k_w)
    missing = [
        height - ((out_h - 1) * s_h - 2 * p_h + k_h),
        width - ((out_w - 1) * s_w - 2 * p_w + k_w),
    ]
    back = _aten.convolution(stacked, one_hot, None, [s_h, s_w], padding, [1, 1], True, missing, 1)
    summed: Tensor = back.reshape(samples, channels, height, width)
    return summed


def threshold_backward(gradient: Tensor, outputs: Tensor, threshold: float) -> Tensor:
    """d / d inputs of ReLU, from its outputs: zero where they are not above `threshold`.

    The mask is read off the ReLU's own output, which the forward pass holds anyway.
    """
    return torch.where(outputs > threshold, gradient, torch.zeros((), dtype=gradient.dtype))
