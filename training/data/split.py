"""Which training images are held out to choose the checkpoint, and in which order the others are seen."""

from __future__ import annotations

import torch
from torch import Tensor

from training.data.images import DataError, LabelledImages


def generator(*key: int) -> torch.Generator:
    """A CPU generator keyed by whole numbers, such as (seed, epoch, step): the same key, the same numbers."""
    state = 0x9E3779B97F4A7C15
    for part in key:
        folded = (part ^ (part >> 32)) & 0xFFFFFFFF
        state = ((state ^ folded) * 0xBF58476D1CE4E5B9 + 0x94D049BB133111EB) & (2**63 - 1)
        state ^= state >> 29
    return torch.Generator().manual_seed(state)


def hold_out(labels: Tensor, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Indices (train, held out): `count` images are held out, of each class its share.

    Raises:
        DataError: if that leaves fewer than half of the images for training.
    """
    if 2 * count > len(labels):
        raise DataError(
            f"data.holdout={count} would hold out more than half of the {len(labels)} training images; "
            f"at most {len(labels) // 2} are accepted"
        )
    order = torch.randperm(len(labels), generator=generator(seed, 1))
    by_class = order[torch.argsort(labels[order], stable=True)]
    # Every (len / count)-th image of the list sorted by class gives each class its share.
    chosen = by_class[(torch.arange(count) * len(labels)) // count]
    mask = torch.zeros(len(labels), dtype=torch.bool)
    mask[chosen] = True
    everyone = torch.arange(len(labels))
    return everyone[~mask], everyone[mask]


def all_held_out(images: LabelledImages, train: Tensor, *, holdout: int) -> tuple[str, ...]:
    """Names of the classes that have images, but none among those at `train`: they are not learnt.

    Args:
        holdout: how many are held out.

    Raises:
        DataError: fewer than two classes are left to train on.
    """
    left = set(images.labels[train].tolist())
    gone = tuple(images.classes[label] for label in sorted(set(images.labels.tolist()) - left))
    if len(left) < 2:
        raise DataError(
            f"{images.origin}: data.holdout={holdout} leaves images of the class "
            f"{images.classes[min(left)]!r} only, and training needs two classes at least; "
            f"add images of {', '.join(map(repr, gone[:5]))}, or lower data.holdout (10 at least)"
        )
    return gone


def epoch_order(indices: Tensor, seed: int, epoch: int) -> Tensor:
    """`indices` in the order of this epoch."""
    return indices[torch.randperm(len(indices), generator=generator(seed, 2, epoch))]
