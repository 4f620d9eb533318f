"""A model whose gradient is cut is measured rather than refused: its gradient is zero."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Differentiable(nn.Module):
    """`module` with the same logits, connected to the image for autograd in any case.

    Where the module cuts the gradient (`detach`, `no_grad`, NumPy, a step function of integers), attacks see
    the gradient that it has, zero, and the gate on gradients reports it; autograd alone would raise.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.module(images)
        if not torch.is_grad_enabled():
            return logits
        return logits + 0.0 * images.flatten(1).sum(1, keepdim=True)
