"""What every objective is given and gives back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Generator, Tensor, nn

from training.networks.network import Network


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One batch of training images and the keys of its randomness."""

    images: Tensor
    """float32[N, 3, H, W] in [0, 1], not yet augmented."""
    labels: Tensor
    """int64[N]."""
    samples: Tensor
    """int64[N], the images' identities in the data set, which key the attacks' noise."""
    attack_seed: int
    """Seed of the attacks' noise in this step."""
    generator: Generator
    """CPU generator of this step, for augmentation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepLoss:
    """The loss of one step, and what the progress bar shows."""

    loss: Tensor
    """Scalar with a graph."""
    terms: dict[str, Tensor]
    """Parts of the loss by name, detached scalars; their means over an epoch are shown and kept in the
    history as `loss_<name>`.
    """
    clean_correct: Tensor
    """Scalar: how many of the batch were classified correctly without perturbation."""
    robust_correct: Tensor
    """Scalar: how many were under the training attack."""


class TrainingObjective(Protocol):
    """A loss on a batch. `modules` (projection heads) are trained and saved beside the network."""

    modules: nn.ModuleDict

    def __call__(self, network: Network, batch: Batch, *, autocast: bool) -> StepLoss:
        """The loss of `network` (in train mode) on `batch`; with `autocast` the passes run in bfloat16."""
