"""Exponential moving average of a network's weights, batch-norm statistics included."""

from __future__ import annotations

import copy

import torch

from training.networks.network import Network

_WARM_UP = 10


class WeightAverage:
    """`network` holds the average: after each step, average = d * average + (1 - d) * weights.

    d grows with the number of steps t up to `decay`, as min(decay, (1 + t) / (10 + t)), so that the random
    initial weights are soon forgotten. Floating-point buffers (batch norm's statistics) are averaged alike.
    """

    def __init__(self, network: Network, decay: float) -> None:
        self.network = copy.deepcopy(network).requires_grad_(False)
        self._decay = decay

    @torch.no_grad()
    def update(self, network: Network, step: int) -> None:
        """Take in `network` after `step` (from 0)."""
        decay = min(self._decay, (1 + step) / (_WARM_UP + step))
        own, other = self.network.state_dict(), network.state_dict()
        for name, average in own.items():
            if average.is_floating_point():
                average.lerp_(other[name], 1.0 - decay)
            else:
                average.copy_(other[name])
