"""Projection heads: from backbone features to the unit vectors that are contrasted."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


class Projection(nn.Module):
    """Linear, or with one hidden ReLU layer of the features' width; the output has unit rows [N, size]."""

    def __init__(self, num_features: int, size: int, *, hidden: bool = False) -> None:
        super().__init__()
        first = [nn.Linear(num_features, num_features), nn.ReLU(inplace=True)] if hidden else []
        self.layers = nn.Sequential(*first, nn.Linear(num_features, size))

    def forward(self, features: Tensor) -> Tensor:
        """float32[N, size] from features [N, num_features]."""
        return functional.normalize(self.layers(features), dim=1)
