"""Our attacks in torch, one after the other on what those before left standing."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from probes.attacks.apgd import apgd
from probes.attacks.result import AttackResult
from probes.budget import Budget
from probes.losses import Loss
from probes.objective import ClassifierObjective, untargeted
from probes.threat import Linf
from training.classifier import TorchClassifier
from training.evaluation.attacks import TestImages, pgd_attack, survive

PGD_STEPS, PGD_RESTARTS = 50, 10
APGD_STEPS = 100


def run_ensemble(
    network: nn.Module,
    test: TestImages,
    samples: Tensor,
    clean: Tensor,
    *,
    eps: float,
    classes: int,
    seed: int,
) -> dict[str, Tensor]:
    """PGD on the cross-entropy as in `clead evaluate`, APGD on the margin, then APGD on the DLR loss towards
    every other class.

    Args:
        samples: int64[N], lasting identities that key the random starts.
        clean: bool[N], the images to attack.

    Returns:
        After each attack, bool[N]: the images that still stand.
    """
    classifier = TorchClassifier(network)

    def attack(images: Tensor, labels: Tensor, rows: Tensor, *, rank: int | None = None) -> AttackResult:
        return _apgd(classifier, images, labels, samples[rows], rank=rank, eps=eps, seed=seed)

    def survivors(standing: Tensor, rank: int | None) -> Tensor:
        return survive(classifier, test, standing, partial(attack, rank=rank), lambda _: None)

    pgd = pgd_attack(classifier, ("linf", eps), steps=PGD_STEPS, restarts=PGD_RESTARTS, seed=seed)
    stages = {"pgd-50-10": survive(classifier, test, clean, pgd, lambda _: None)}
    stages["apgd-margin"] = standing = survivors(stages["pgd-50-10"], None)
    for rank in range(1, classes):
        standing = survivors(standing, rank)
    return {**stages, "apgd-t": standing}


def _apgd(
    classifier: TorchClassifier,
    images: Tensor,
    labels: Tensor,
    samples: Tensor,
    *,
    rank: int | None,
    eps: float,
    seed: int,
) -> AttackResult:
    """Untargeted on the margin or, with a rank, on the DLR loss towards the class that many places behind the
    clean answer."""
    objective = untargeted(classifier, labels, loss=Loss.MARGIN)
    if rank is not None:
        order = classifier.logits(images).argsort(dim=1, descending=True)
        objective = ClassifierObjective(
            classifier=classifier,
            labels=labels,
            targets=order[:, rank],
            losses=torch.full_like(labels, int(Loss.DLR)),
            budget=Budget(),
        )
    return apgd(
        objective,
        images,
        threat=Linf(),
        eps=torch.full((len(images),), eps),
        steps=APGD_STEPS,
        seed=seed,
        samples=samples,
        early_stop=True,
    )
