"""Adversarial weight perturbation: the loss is minimised at weights that were moved uphill first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from training.processes import Processes

_TINY = 1e-20


@contextmanager
def weights_perturbed(
    network: nn.Module, loss: Callable[[], Tensor], *, gamma: float, processes: Processes
) -> Iterator[None]:
    """Within, each weight tensor of `network` is w + gamma ||w|| / ||g|| g, with g the gradient of `loss`.

    Wu et al., arXiv 2004.05884. Vectors (biases, batch norm) stay. Buffers are afterwards what they were
    before `loss` was asked, so the extra pass does not move batch norm's statistics; weights are restored to
    the bit.

    Args:
        loss: this process's share of the loss, with a graph.
    """
    weights = [parameter for parameter in network.parameters() if parameter.dim() > 1]
    buffers = [buffer.clone() for buffer in network.buffers()]
    # An encoder's loss does not know the classifier's weights.
    gradients = torch.autograd.grad(loss(), weights, allow_unused=True)
    with torch.no_grad():
        for buffer, before in zip(network.buffers(), buffers, strict=True):
            buffer.copy_(before)
        before_move = [weight.clone() for weight in weights]
        for weight, gradient in zip(weights, gradients, strict=True):
            if gradient is not None:
                total = processes.add(gradient)
                weight.add_(total, alpha=float(gamma * weight.norm() / total.norm().clamp(min=_TINY)))
    try:
        yield
    finally:
        with torch.no_grad():
            for weight, before in zip(weights, before_move, strict=True):
                weight.copy_(before)
