"""The decompositions of the backward pass against autograd, operator by operator."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from export.backward import convolution_backward, max_pool2d_backward, threshold_backward


def autograd(output: Tensor, images: Tensor, cotangent: Tensor) -> Tensor:
    (gradient,) = torch.autograd.grad(output, images, cotangent)
    return gradient


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("padding", [0, 1, 3])
@pytest.mark.parametrize("stride", [(1, 1), (2, 2), (2, 1), (3, 3)])
@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (4, 4), (3, 1)])
def test_convolution(
    kernel: tuple[int, int], stride: tuple[int, int], padding: int, dilation: int, groups: int
) -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(2, 4, 9, 10, generator=generator, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(6, 4 // groups, *kernel, generator=generator, dtype=torch.float64)
    output = functional.conv2d(
        images, weight, stride=stride, padding=padding, dilation=dilation, groups=groups
    )
    cotangent = torch.randn(output.shape, generator=generator, dtype=torch.float64)
    gradient, of_weight, of_bias = convolution_backward(
        cotangent,
        images.detach(),
        weight,
        None,
        stride,
        (padding, padding),
        (dilation, dilation),
        False,
        (0, 0),
        groups,
        (True, True, True),
    )
    torch.testing.assert_close(gradient, autograd(output, images, cotangent), rtol=1e-12, atol=1e-12)
    assert of_weight is None
    assert of_bias is None


def test_transposed_convolution_is_refused() -> None:
    ones = torch.ones(1, 1, 4, 4)
    with pytest.raises(NotImplementedError, match="transposed"):
        convolution_backward(ones, ones, ones, None, (1, 1), (0, 0), (1, 1), True, (0, 0), 1, (True,) * 3)


@pytest.mark.parametrize("values", ["continuous", "tied", "rectified"])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding"), [(3, 2, 1), (2, 2, 0), (3, 1, 1), (3, 3, 0), (2, 1, 1)]
)
def test_max_pooling(kernel: int, stride: int, padding: int, values: str) -> None:
    """Ties go to the first place of the window, as in PyTorch: after a ReLU many windows are tied."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(2, 3, 9, 10, generator=generator)
    if values == "tied":
        images = torch.round(images)
    elif values == "rectified":
        images = images.relu()
    images.requires_grad_(True)
    output = functional.max_pool2d(images, kernel, stride, padding)
    cotangent = torch.randn(output.shape, generator=generator)
    gradient = max_pool2d_backward(
        cotangent,
        images.detach(),
        (kernel, kernel),
        (stride, stride),
        (padding, padding),
        (1, 1),
        False,
        output,
    )
    torch.testing.assert_close(gradient, autograd(output, images, cotangent), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("dilation", "ceil_mode"), [((2, 2), False), ((1, 1), True)])
def test_unusual_max_pooling_is_refused(dilation: tuple[int, int], ceil_mode: bool) -> None:
    images = torch.ones(1, 1, 4, 4)
    with pytest.raises(NotImplementedError, match="max pooling"):
        max_pool2d_backward(images, images, (2, 2), (2, 2), (0, 0), dilation, ceil_mode, images)


def test_relu_is_zero_at_zero() -> None:
    inputs = torch.tensor([-1.0, 0.0, 2.0], requires_grad=True)
    outputs = functional.relu(inputs)
    cotangent = torch.tensor([3.0, 5.0, 7.0])
    expected = autograd(outputs, inputs, cotangent)
    torch.testing.assert_close(threshold_backward(cotangent, outputs.detach(), 0), expected)
