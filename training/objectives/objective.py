"""What every objective is given, what it does with a batch, and what it gives back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import torch
from torch import Generator, Tensor, nn

from training.data.images import LabelledImages
from training.networks.network import Network
from training.perturbation import Perturbation
from training.processes import Processes
from training.progress import Track

Views: TypeAlias = Mapping[str, Tensor]
"""Images float32[M, 3, H, W] in [0, 1] by name: augmented, and perturbed against the current parameters."""


Augmentation: TypeAlias = Callable[[Tensor, Generator], Tensor]
"""One of `training.augment`: images [N, 3, H, W] and a CPU generator to images."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """A batch of training images, this process's part of it, and the keys of its randomness."""

    images: Tensor
    """float32[B, 3, H, W] in [0, 1], the whole batch, not yet augmented."""
    part: slice
    """Which of them are this process's own, N of B."""
    batch_samples: Tensor
    """int64[B], the images' identities in the data set (on the CPU)."""
    labels: Tensor
    """int64[N], of its own part."""
    samples: Tensor
    """int64[N], the identities of its own part, which key the attacks' noise."""
    attack_seed: int
    """Seed of the attacks' noise in this step."""
    generator: Generator
    """CPU generator of this step, for augmentation."""

    def augmented(self, augmentation: Augmentation) -> Tensor:
        """float32[N, 3, H, W]: this process's part of the augmented batch.

        The random numbers are drawn for the whole batch, so they do not depend on the number of processes.
        """
        return augmentation(self.images, self.generator)[self.part]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepLoss:
    """The loss of one step, and what is logged of it."""

    loss: Tensor
    """Scalar with a graph: this process's share, so that the shares of all processes add up to the batch's
    loss."""
    terms: Mapping[str, Tensor] = field(default_factory=dict)
    """Detached scalars by name, this process's shares: parts of the loss before they are weighted, and other
    means over the batch that a researcher wants to see."""
    correct: Mapping[str, Tensor] = field(default_factory=dict)
    """Scalars: how many of this process's images were classified correctly, `clean` and `robust` (under the
    training attack), as far as the objective looks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What an objective works with."""

    network: Network
    perturbation: Perturbation
    batch_shape: tuple[int, int, int, int]
    """[B, 3, H, W] of the whole batch."""
    processes: Processes = field(default_factory=Processes)
    autocast: bool = False
    """The backbone runs in bfloat16; what follows it (logits, projections, losses) in float32 always."""

    def features(self, images: Tensor) -> Tensor:
        """Backbone features [N, num_features], float32."""
        with self._precision(images):
            features = self.network.features(images)
        return features.float() if self.autocast else features

    def logits(self, images: Tensor) -> Tensor:
        """float32[N, K]."""
        return self.classify(self.features(images))

    def classify(self, features: Tensor) -> Tensor:
        """float32[N, K] from backbone features."""
        logits: Tensor = self.network.fc(features)
        return logits

    def share(self, per_sample: Tensor) -> Tensor:
        """This process's share of the mean over the whole batch, from its own samples' values."""
        return per_sample.sum() / (len(per_sample) * self.processes.count)

    def _precision(self, images: Tensor) -> torch.autocast:
        return torch.autocast(images.device.type, dtype=torch.bfloat16, enabled=self.autocast)


class TrainingObjective(ABC):
    """A loss on a batch, in two halves: views that are fixed, and the parameters' loss on them.

    The halves are apart so that weights may be perturbed between them (AWP).
    """

    def __init__(self, context: Context) -> None:
        self.context = context
        self.modules = nn.ModuleDict()
        """Trained and saved beside the network, such as projection heads."""

    replays: int = 1
    """How many updates in a row are made on each batch."""

    def prepare(
        self,
        images: LabelledImages,
        chosen: Tensor,
        folder: Path,
        device: torch.device,
        track: Track,
        *,
        made: str = "",
    ) -> str:
        """Work that is done once, before the first step: on `images` at int64 `chosen`, kept in `folder`.

        Args:
            track: shows how far it is.
            made: what this returned when the run began, which now goes on; empty for one that begins.

        Returns:
            What identifies the outcome; empty where there is none. A run keeps it in its checkpoints.

        Raises:
            CheckpointError: the outcome would be another than `made`.
        """
        return ""

    def after_backward(self, views: Views, batch: Batch) -> None:
        """Told when the gradients of the loss are there, those by the views that ask for one included."""
        return

    @abstractmethod
    def views(self, batch: Batch) -> Views:
        """The images that the loss is about. The network comes and leaves in train mode."""

    @abstractmethod
    def loss(self, views: Views, batch: Batch) -> StepLoss:
        """The network's loss on `views`."""


def count_correct(logits: Tensor, labels: Tensor) -> Tensor:
    """How many of the labels have the largest logit."""
    return (logits.detach().argmax(1) == labels).sum()
