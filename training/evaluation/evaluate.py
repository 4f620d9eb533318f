"""The whole evaluation: figures, then the gates that decide whether they may be believed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from importlib.metadata import version
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from probes.threat import Norm
from training.classifier import TorchClassifier
from training.cuda_settings import deterministic, full_precision
from training.data.images import LabelledImages
from training.data.split import generator
from training.evaluation.attacks import (
    Attack,
    TestImages,
    correct,
    fgsm_attack,
    noise_attack,
    pgd_attack,
    survive,
)
from training.evaluation.autoattack import MINIMUM_CLASSES, AutoAttackOutcome, run_autoattack
from training.evaluation.figures import Evaluation
from training.evaluation.gates import Measured, judge
from training.evaluation.progress import Ledger
from training.evaluation.trace import LossTrace
from training.memory import out_of_memory_as

AttackName = Literal["noise", "fgsm", "pgd-50-10", "autoattack"]
ATTACKS: tuple[AttackName, ...] = get_args(AttackName)
_IMAGES = 1000
_NOISE_DRAWS = 10
_CONTROL_IMAGES = 200
"""The controls at other eps look for gross failures, so few images do."""
_CONTROL_EPS = (0.1, 0.2, 0.5)
"""Beyond any claim: the last can turn every image grey. In l2, times the root of its number of values."""
_LIBRARIES = ("torch", "torchvision", "pyautoattack")


class EvaluationError(ValueError):
    """An evaluation that cannot be made as asked; the message says what is accepted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationRequest:
    """What to measure: eps in [0, 1] pixels, on `n` test images drawn by `seed`."""

    norm: Norm
    eps: float
    n: int | None = None
    """None: 1000, or all of them where there are fewer."""
    attacks: tuple[str, ...] | None = None
    """Of `ATTACKS`. None: all that the data allows, which is said on the screen."""
    seed: int = 0
    batch_size: int = 250


def evaluate(
    module: nn.Module,
    images: LabelledImages,
    request: EvaluationRequest,
    *,
    subject: str,
    weights_sha256: str,
    dataset: str,
    device: torch.device,
) -> Evaluation:
    """Measure `module` (images in [0, 1] to logits) in float32 and eval mode, and judge the figures.

    Raises:
        EvaluationError: if there are too few images or classes for what was asked for, an attack is unknown,
            or the memory does not suffice.
    """
    ledger = Ledger(request.norm, request.eps)
    n, attacks = _settled(request, images, ledger)
    too_large = f"lower --batch-size ({request.batch_size}) or --n ({n}) and evaluate again"
    with deterministic(), full_precision(), out_of_memory_as(EvaluationError, too_large):
        chosen = torch.randperm(len(images), generator=generator(request.seed, 7))[:n]
        pixels, labels = images.batch(chosen, torch.device("cpu"))
        test = TestImages(images=pixels, labels=labels, device=device, batch_size=request.batch_size)
        module = module.to(device, memory_format=torch.channels_last).float().eval()  # type: ignore[call-overload]
        measured = _measure(module, test, request, attacks, ledger, classes=len(images.classes))
    return Evaluation(
        subject=subject,
        weights_sha256=weights_sha256,
        dataset=dataset,
        n=n,
        seed=request.seed,
        figures=tuple(ledger.figures),
        gates=judge(measured),
        libraries={name: version(name) for name in _LIBRARIES},
    )


def _measure(
    module: nn.Module,
    test: TestImages,
    request: EvaluationRequest,
    wanted: tuple[str, ...],
    ledger: Ledger,
    *,
    classes: int,
) -> Measured:
    classifier = TorchClassifier(module)
    threat, seed = (request.norm, request.eps), request.seed
    trace = LossTrace()
    with ledger.bar("clean", len(test.labels)):
        clean = correct(classifier, test)
    ledger.add("clean", clean, clean=True)

    def under(name: str, attack: Attack, standing: Tensor) -> Tensor:
        with ledger.bar(name, int(standing.sum())) as advance:
            return survive(classifier, test, standing, attack, advance)

    noise = fgsm = pgd = longer = None
    if "noise" in wanted:
        noise = under("noise", noise_attack(classifier, threat, draws=_NOISE_DRAWS, seed=seed), clean)
        ledger.add("noise", noise)
    if "fgsm" in wanted:
        fgsm = under("fgsm", fgsm_attack(classifier, threat), clean)
        ledger.add("fgsm", fgsm)
    if "pgd-50-10" in wanted:
        strong = pgd_attack(classifier, threat, steps=50, restarts=10, seed=seed, on_step=trace)
        pgd = under("pgd-50-10", strong, clean)
        ledger.add("pgd-50-10", pgd)
        twice = pgd_attack(classifier, threat, steps=100, restarts=1, seed=seed + 1)
        longer = under("check: twice the steps", twice, pgd)
    auto: AutoAttackOutcome | None = None
    if "autoattack" in wanted:
        with ledger.bar("autoattack", 4 * int(clean.sum())) as advance:
            auto = run_autoattack(
                module, test, clean, threat=threat, classes=classes, seed=seed, advance=advance
            )
        ledger.add("autoattack", auto.standing)
    control = torch.arange(len(clean)) < _CONTROL_IMAGES
    by_eps = []
    scale = 1.0 if request.norm == "linf" else math.sqrt(test.images[0].numel())
    for eps in (request.eps / 2, request.eps, *(scale * size for size in _CONTROL_EPS)):
        attack = pgd_attack(classifier, (request.norm, eps), steps=20, restarts=1, seed=seed)
        left = under(f"check: eps {eps:.3g}", attack, clean & control)
        by_eps.append((eps, int(left.sum()) / int(control.sum())))
    first = test.images[: test.batch_size].to(test.device)
    return Measured(
        clean=clean,
        noise=noise,
        fgsm=fgsm,
        pgd=pgd,
        longer=longer,
        auto=auto,
        trace=trace if pgd is not None else None,
        by_eps=tuple(sorted(by_eps)),
        repeat_difference=float((classifier.logits(first) - classifier.logits(first)).abs().max()),
        classes=classes,
    )


def _settled(
    request: EvaluationRequest, images: LabelledImages, ledger: Ledger
) -> tuple[int, tuple[str, ...]]:
    """How many images and which attacks; what was not asked for is what the data allows."""
    n = min(_IMAGES, len(images)) if request.n is None else request.n
    if not 1 <= n <= len(images):
        raise EvaluationError(f"n={n} is not between 1 and the {len(images)} test images")
    if not 0 < request.eps < math.inf:
        raise EvaluationError(f"eps={request.eps} must be greater than 0 (in [0, 1] pixels, such as 8/255)")
    if request.norm == "linf" and request.eps > 1:
        raise EvaluationError(
            f"eps={request.eps:g} in [0, 1] pixels is beyond any image; did you mean {request.eps:g}/255?"
        )
    attacks = ATTACKS if request.attacks is None else request.attacks
    unknown = [name for name in attacks if name not in ATTACKS]
    if unknown:
        raise EvaluationError(f"unknown attack {unknown[0]!r}; accepted are: {', '.join(ATTACKS)}")
    if "autoattack" not in attacks or len(images.classes) >= MINIMUM_CLASSES:
        return n, attacks
    reason = (
        f"AutoAttack's targeted losses need {MINIMUM_CLASSES} classes, the data has {len(images.classes)}"
    )
    if request.attacks is not None:
        raise EvaluationError(f"{reason}; name the other attacks instead")
    ledger.say(f"autoattack is left out: {reason}")
    return n, tuple(name for name in attacks if name != "autoattack")
