"""Tracing a network, and its input gradient, into programs that the ONNX exporter takes.

Both programs take the weights as inputs after their other inputs: so no optimisation of the exporter can fold
    weights into new constants, and `export.graph` can point both graphs into one weights file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count

import torch
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx

from export.backward import input_gradient_decompositions
from export.bundle import InputSpec
from probes.losses import UNTARGETED, Loss, loss_and_cotangent

_BATCH = torch.export.Dim("batch", min=1, max=2**20)


def classifier_program(network: nn.Module, spec: InputSpec) -> torch.export.ExportedProgram:
    """images, weights... -> logits.

    Args:
        network: folded (`export.fold.fold_batch_norm`), images float32[N, 3, H, W] in [0, 1] to logits [N,
            K]. spec: height and width that the graph is made for; the batch axis stays open.
    """
    weights = network.state_dict()

    def classify(images: Tensor, *values: Tensor) -> Tensor:
        logits: Tensor = torch.func.functional_call(network, _named(weights, values), (images,))
        return logits

    return _program(classify, (_example(spec, weights),), tuple(weights.values()))


def gradient_program(network: nn.Module, spec: InputSpec, *, classes: int) -> torch.export.ExportedProgram:
    """images, label, target, loss, weights... -> logits, loss_value, gradient, in one forward and backward
    pass.

    The loss of every sample is chosen by its cotangent (`probes.losses.loss_and_cotangent`), which the
    backward pass then carries to the image; arguments as in `classifier_program`.
    """
    weights = network.state_dict()

    def climb(
        images: Tensor, label: Tensor, target: Tensor, loss: Tensor, *values: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        named = _named(weights, values)
        pullback = torch.func.vjp(
            lambda points: torch.func.functional_call(network, named, (points,)), images
        )
        logits, backward = pullback[0], pullback[1]
        value, cotangent = loss_and_cotangent(logits, label, target, loss)
        (gradient,) = backward(cotangent)
        return logits, value, gradient

    images = _example(spec, weights)
    samples = torch.arange(len(images))
    choices = (samples % classes, torch.full_like(samples, UNTARGETED), samples % len(Loss))
    return _program(climb, (images, *choices), tuple(weights.values()))


def _program(
    function: Callable[..., object], inputs: tuple[Tensor, ...], weights: tuple[Tensor, ...]
) -> torch.export.ExportedProgram:
    """Traces by operator first, where derivatives exist, then exports the trace with an open batch axis."""
    table = input_gradient_decompositions()
    with torch.no_grad():
        traced = make_fx(function, decomposition_table=table, tracing_mode="symbolic")(*inputs, *weights)
    axes = (*({0: _BATCH} for _ in inputs), *(None for _ in weights))
    return torch.export.export(traced.eval(), (*inputs, *weights), dynamic_shapes=axes, strict=False)


def _named(weights: dict[str, Tensor], values: Sequence[Tensor]) -> dict[str, Tensor]:
    return dict(zip(weights, values, strict=True))


def _example(spec: InputSpec, weights: dict[str, Tensor]) -> Tensor:
    """Images to trace with. Symbolic tracing takes equal sizes for one, so the batch differs from all."""
    sizes = {spec.channels, spec.height, spec.width}
    for weight in weights.values():
        sizes.update(weight.shape)
    batch = next(number for number in count(5) if number not in sizes)
    return torch.zeros(batch, spec.channels, spec.height, spec.width)
