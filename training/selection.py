"""Held-out accuracy, clean and under PGD: what chooses the checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from probes.attacks.pgd import pgd
from probes.objective import untargeted
from probes.threat import threat_named
from training.classifier import TorchClassifier, attack_mode
from training.data.images import LabelledImages
from training.networks.network import Network
from training.processes import Processes
from training.recipe import Recipe


def held_out_accuracy(
    network: Network,
    images: LabelledImages,
    indices: Tensor,
    recipe: Recipe,
    device: torch.device,
    processes: Processes,
) -> dict[str, float]:
    """`held_out_clean` and `held_out_robust`: accuracy on the images at `indices`, and under PGD on the
    recipe's threat.

    Each process attacks its part of them.
    """
    correct = torch.zeros(2, dtype=torch.float64, device=device)
    threat = threat_named(recipe.attack.norm)
    with attack_mode(network):
        classifier = TorchClassifier(network)
        for chunk in indices[processes.rank :: processes.count].split(recipe.selection.batch_size):
            batch, labels = images.batch(chunk, device)
            clean = classifier.logits(batch).argmax(1) == labels
            result = pgd(
                untargeted(classifier, labels[clean]),
                batch[clean],
                threat=threat,
                eps=torch.full_like(labels[clean], recipe.attack.eps, dtype=torch.float32),
                steps=recipe.selection.steps,
                seed=recipe.seed,
                samples=chunk.to(device)[clean],
                early_stop=True,
            )
            correct += torch.stack([clean.sum(), (~result.adversarial).sum()])
    clean_share, robust_share = (processes.add(correct) / len(indices)).tolist()
    return {"held_out_clean": clean_share, "held_out_robust": robust_share}


def commonest_share(labels: Tensor) -> float:
    """The share of the commonest of `labels`: how often one answer to everything is right."""
    return int(labels.bincount().max()) / len(labels)


def rank(
    figures: Mapping[str, float], *, by: Literal["robust", "clean"], constant: float
) -> tuple[float, float]:
    """What is highest for the best epoch.

    Robust accuracy counts where one answer to everything has less; of epochs where it does not count, the
    clean one decides.

    Args:
        figures: as `held_out_accuracy` gives them.
        constant: `commonest_share` of the held-out images.
    """
    clean, robust = figures["held_out_clean"], figures["held_out_robust"]
    if by == "robust" and robust > constant:
        return robust, 0.0
    return 0.0, clean
