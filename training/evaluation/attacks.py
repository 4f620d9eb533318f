"""The attacks of an evaluation, and which images withstand them: bool[N].

All run in float32 with the network in eval mode, and only on the images they are given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from probes.attacks.fgsm import fgsm
from probes.attacks.noise import random_noise
from probes.attacks.pgd import pgd
from probes.attacks.rays import rays
from probes.attacks.result import AttackResult, OnStep
from probes.objective import untargeted
from probes.threat import Norm, threat_named
from training.classifier import TorchClassifier

Attack: TypeAlias = Callable[[Tensor, Tensor, Tensor], AttackResult]
"""(images, labels int64[N], samples int64[N]) to the worst images found."""
NormEps: TypeAlias = tuple[Norm, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class TestImages:
    """The images of an evaluation, on the CPU, and how they are worked through."""

    __test__ = False  # no test case, whatever pytest thinks of the name

    images: Tensor
    """float32[N, 3, H, W] in [0, 1]."""
    labels: Tensor
    """int64[N]."""
    device: torch.device
    batch_size: int

    def chunks(self, chosen: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """(indices, images, labels) of the images where bool[N] `chosen` holds, batch by batch."""
        rows = chosen.nonzero()[:, 0]
        # torch splits nothing into one empty part, which the attack library cannot take.
        for indices in rows.split(self.batch_size) if len(rows) else ():
            yield indices, self.images[indices].to(self.device), self.labels[indices].to(self.device)


def correct(classifier: TorchClassifier, test: TestImages) -> Tensor:
    """bool[N]: right without any perturbation."""
    flags = torch.zeros(len(test.labels), dtype=torch.bool)
    for indices, images, labels in test.chunks(torch.ones_like(flags)):
        flags[indices] = (classifier.logits(images).argmax(1) == labels).cpu()
    return flags


def survive(
    classifier: TorchClassifier,
    test: TestImages,
    standing: Tensor,
    attack: Attack,
    advance: Callable[[int], None],
) -> Tensor:
    """bool[N]: of the images where `standing` holds, those that `attack` cannot break."""
    flags = torch.zeros_like(standing)
    for indices, images, labels in test.chunks(standing):
        result = attack(images, labels, indices.to(test.device))
        still_right = classifier.logits(result.images).argmax(1) == labels
        flags[indices] = (still_right & ~result.adversarial).cpu()
        advance(len(indices))
    return flags


def pgd_attack(
    classifier: TorchClassifier,
    threat: NormEps,
    *,
    steps: int,
    restarts: int,
    seed: int,
    on_step: OnStep | None = None,
) -> Attack:
    """PGD on the cross-entropy with random starts, step size 2.5 eps / steps, stopping at the first
    success.
    """
    norm, eps = threat

    def attack(images: Tensor, labels: Tensor, samples: Tensor) -> AttackResult:
        return pgd(
            untargeted(classifier, labels),
            images,
            threat=threat_named(norm),
            eps=images.new_full((len(images),), eps),
            steps=steps,
            restarts=restarts,
            seed=seed,
            samples=samples,
            early_stop=True,
            on_step=on_step,
        )

    return attack


def fgsm_attack(classifier: TorchClassifier, threat: NormEps) -> Attack:
    """One step of size eps from the image."""
    norm, eps = threat

    def attack(images: Tensor, labels: Tensor, samples: Tensor) -> AttackResult:
        radius = images.new_full((len(images),), eps)
        return fgsm(untargeted(classifier, labels), images, threat=threat_named(norm), eps=radius)

    return attack


def noise_attack(classifier: TorchClassifier, threat: NormEps, *, draws: int, seed: int) -> Attack:
    """The worst of some draws of uniform noise from the ball."""
    norm, eps = threat

    def attack(images: Tensor, labels: Tensor, samples: Tensor) -> AttackResult:
        return random_noise(
            untargeted(classifier, labels),
            images,
            threat=threat_named(norm),
            eps=images.new_full((len(images),), eps),
            draws=draws,
            seed=seed,
            samples=samples,
        )

    return attack


def rays_attack(classifier: TorchClassifier, eps: float, *, queries: int) -> Attack:
    """RayS in l-inf by decisions alone, stopping at the first success inside the ball. Nothing is random."""

    def attack(images: Tensor, labels: Tensor, samples: Tensor) -> AttackResult:
        return rays(
            untargeted(classifier, labels).query,
            images,
            eps=images.new_full((len(images),), eps),
            queries=queries,
            early_stop=True,
        )

    return attack


def transfer_attack(surrogate: TorchClassifier, threat: NormEps, *, steps: int, seed: int) -> Attack:
    """PGD on another model's cross-entropy, run to its last step: images that are wrong by a wide margin
    there carry over best. What they do to the model under attack is not looked at on the way.
    """
    norm, eps = threat

    def attack(images: Tensor, labels: Tensor, samples: Tensor) -> AttackResult:
        made = pgd(
            untargeted(surrogate, labels),
            images,
            threat=threat_named(norm),
            eps=images.new_full((len(images),), eps),
            steps=steps,
            seed=seed,
            samples=samples,
        )
        return made._replace(adversarial=torch.zeros_like(made.adversarial))

    return attack
