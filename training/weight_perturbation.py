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
    """Within, each trained weight tensor of `network` is w + gamma ||w|| / ||g|| g, g the gradient of `loss`.

    Wu et al., arXiv 2004.05884. Vectors (biases, batch norm), frozen weights and projection heads stay.
    Buffers are afterwards what they were before `loss` was asked, so the extra pass does not move batch
    norm's statistics; weights are restored to the bit.

    Args:
        loss: this process's share of the loss, with a graph.
    """
    weights = [p for p in network.parameters() if p.requires_grad and p.dim() > 1]
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
                # A tensor, not a number: asking the device for each would hold it up.
                weight.add_(total * (gamma * weight.norm() / total.norm().clamp(min=_TINY)))
    try:
        yield
    finally:
        with torch.no_grad():
            for weight, before in zip(weights, before_move, strict=True):
                weight.copy_(before)
