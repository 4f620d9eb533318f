"""Parity of an engine with torch on real images, checked before a bundle is published.

Rounding may put a ReLU on the other side of zero, so gradients need not be equal value by value. What must
agree is what an attack gets out of them: the signs of the values that matter, and how often PGD succeeds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from engines.engine import Engine
from engines.sample import LOGIT_TOLERANCE, SIGN_AGREEMENT, logit_error, sign_agreement
from probes.attacks.pgd import pgd
from probes.losses import UNTARGETED, Loss
from probes.objective import untargeted
from probes.threat import threat_named
from training.classifier import TorchClassifier

PGD_STEPS = 10
MEAN_SIGN_AGREEMENT = 0.995
"""Least sign agreement averaged over the images; a single one may have a ReLU gate that fell the other way.
"""


class ParityError(RuntimeError):
    """The exported graphs do not compute what the network computes; the message names what differs, and how
    much.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class LossParity:
    """How one loss compares. Success: part of the images whose prediction PGD changed, with torch and in the
    engine.
    """

    loss: str
    value_error: float
    """Largest error of a loss value, as a part of the largest value (at least 1)."""
    mean_sign_agreement: float
    least_sign_agreement: float
    torch_success: float
    engine_success: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ParityReport:
    """What was compared on `images` images; `logit_error` is a part of the largest logit."""

    images: int
    logit_error: float
    losses: tuple[LossParity, ...]


def check_parity(
    network: nn.Module, engine: Engine, images: Tensor, *, norm: str, eps: float, seed: int = 0
) -> ParityReport:
    """Compares `engine` with `network` on float32[N, 3, H, W] images: logits, all losses, gradients, PGD-10
    at eps.

    Raises:
        ParityError: they differ by more than rounding explains.
    """
    report = compare(network, engine, images, norm=norm, eps=eps, seed=seed)
    problems = []
    if not report.logit_error <= LOGIT_TOLERANCE:
        problems.append(
            f"logits differ by {report.logit_error:.2g} of the largest (limit {LOGIT_TOLERANCE:g})"
        )
    for loss in report.losses:
        problems.extend(f"{loss.loss}: {problem}" for problem in _loss_problems(loss, report.images))
    if problems:
        raise ParityError(
            f"the exported graphs disagree with torch on {report.images} images: {'; '.join(problems)}; "
            "nothing was published"
        )
    return report


def compare(
    network: nn.Module, engine: Engine, images: Tensor, *, norm: str, eps: float, seed: int = 0
) -> ParityReport:
    """The figures that `check_parity` judges. The labels attacked are torch's own predictions."""
    classifier = TorchClassifier(network)
    logits = classifier.logits(images)
    labels = logits.argmax(dim=1)
    losses = tuple(
        _compare_loss(classifier, engine, images, labels, loss, norm=norm, eps=eps, seed=seed)
        for loss in Loss
    )
    error = logit_error(engine.logits(images.numpy()), logits.numpy())
    return ParityReport(images=len(images), logit_error=error, losses=losses)


def _compare_loss(
    classifier: TorchClassifier,
    engine: Engine,
    images: Tensor,
    labels: Tensor,
    loss: Loss,
    *,
    norm: str,
    eps: float,
    seed: int,
) -> LossParity:
    numbers = torch.arange(len(images))
    # Both kinds of goal in one pass: every second image is targeted at the next class.
    classes = classifier.logits(images[:1]).shape[1]
    targets = torch.where(numbers % 2 == 1, (labels + 1) % classes, torch.full_like(labels, UNTARGETED))
    chosen = torch.full_like(labels, int(loss))
    wanted = classifier.gradient(images, labels, targets, chosen)
    got = engine.gradient(images.numpy(), labels.numpy(), targets.numpy(), chosen.numpy())
    agreement = sign_agreement(got.gradient, wanted.gradient.numpy())
    threat = threat_named(norm)
    torch_attack = pgd(
        untargeted(classifier, labels, loss=loss),
        images,
        threat=threat,
        eps=torch.full((len(images),), eps),
        steps=PGD_STEPS,
        seed=seed,
    )
    engine_attack = pgd(
        untargeted(engine, labels.numpy(), loss=loss),
        images.numpy(),
        threat=threat,
        eps=np.full(len(images), eps, np.float32),
        steps=PGD_STEPS,
        seed=seed,
    )
    return LossParity(
        loss=loss.name.lower().replace("_", "-"),
        value_error=logit_error(got.value, wanted.value.numpy()),
        mean_sign_agreement=float(agreement.mean()),
        least_sign_agreement=float(agreement.min()),
        torch_success=float(torch_attack.adversarial.float().mean()),
        engine_success=float(engine_attack.adversarial.mean()),
    )


def _loss_problems(loss: LossParity, images: int) -> list[str]:
    problems = []
    if not loss.value_error <= LOGIT_TOLERANCE:
        problems.append(f"values differ by {loss.value_error:.2g} of the largest (limit {LOGIT_TOLERANCE:g})")
    if loss.mean_sign_agreement < MEAN_SIGN_AGREEMENT or loss.least_sign_agreement < SIGN_AGREEMENT:
        problems.append(
            f"gradient signs agree by {loss.mean_sign_agreement:.2%} on average and "
            f"{loss.least_sign_agreement:.2%} at least (limits {MEAN_SIGN_AGREEMENT:.1%} and "
            f"{SIGN_AGREEMENT:.0%})"
        )
    apart = abs(loss.torch_success - loss.engine_success)
    if apart > success_tolerance(images):
        problems.append(
            f"PGD succeeds on {loss.torch_success:.1%} in torch and {loss.engine_success:.1%} here"
        )
    return problems


def success_tolerance(images: int) -> float:
    """Largest difference of PGD success rates that chance explains.

    Both attacks draw the same starts, so only images on the very edge may differ. With one in fifty such
    images, each falling either way, the difference stays within three standard deviations; two images are
    always allowed.
    """
    return max(2.0, 3.0 * math.sqrt(0.02 * images)) / images
