"""Checks that expose gradient masking, weak attacks and unsound figures.

After Carlini et al. (arXiv 1902.06705), Athalye et al. (arXiv 1802.00420) and AutoAttack's own flags. Each is
a pure function of what was measured. A model is called robust only if all were measured and all passed.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor

from training.evaluation.autoattack import AutoAttackOutcome
from training.evaluation.figures import Gate
from training.evaluation.trace import LossTrace

MINIMUM_IMAGES = 1000
"""Fewer leave a figure uncertain by more than three points."""
MINIMUM_ROBUST = 0.20
LARGEST_GAP = 0.08
"""PGD-50-10 minus AutoAttack: 0.025 to 0.06 for soundly trained networks, 0.13 for a masked one."""
SLACK = 0.005
SQUARE_SLACK = 0.002
ERASING = 0.1
"""At eps 0.1 and beyond (l-inf) a sound network keeps less accuracy than this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What the gates look at. bool[N] flags say which images stay right; None was not measured."""

    clean: Tensor
    noise: Tensor | None
    fgsm: Tensor | None
    pgd: Tensor | None
    longer: Tensor | None
    """After PGD, and then PGD with twice the steps and other random starts."""
    auto: AutoAttackOutcome | None
    trace: LossTrace | None
    by_eps: tuple[tuple[float, float], ...]
    """(eps, accuracy under PGD-20) in rising order; the last three eps are beyond any claim."""
    repeat_difference: float
    """Largest difference of logits between two passes over the same images."""
    classes: int


def judge(measured: Measured) -> tuple[Gate, ...]:
    """All gates, in the order in which they are best read."""
    return (
        _enough_images(measured),
        _deterministic(measured),
        _gradients_present(measured),
        _loss_rises(measured),
        _noise_is_weaker(measured),
        _iterative_beats_single_step(measured),
        _converged(measured),
        _monotone(measured),
        _large_eps_breaks(measured),
        _black_box_adds_nothing(measured),
        _autoattack_agrees(measured),
        _autoattack_flags(measured),
        _robust_enough(measured),
    )


def _enough_images(measured: Measured) -> Gate:
    n = len(measured.clean)
    return Gate(
        name="enough_images",
        passed=n >= MINIMUM_IMAGES,
        detail=f"{n} images, at least {MINIMUM_IMAGES} needed",
    )


def _deterministic(measured: Measured) -> Gate:
    # Randomness would need attacks that average over it.
    difference = measured.repeat_difference
    return Gate(
        name="deterministic",
        passed=difference == 0.0,
        detail=f"logits of two passes differ by {difference:.2g}",
    )


def _gradients_present(measured: Measured) -> Gate:
    if measured.trace is None:
        return _missing("gradients_present", "PGD")
    zero, n = measured.trace.zero_gradients, int(measured.clean.sum())
    return Gate(
        name="gradients_present",
        passed=zero <= 0.01 * n,
        detail=f"{zero} of {n} images have a zero gradient where PGD starts (accepted: 1%)",
    )


def _loss_rises(measured: Measured) -> Gate:
    if measured.trace is None:
        return _missing("loss_rises", "PGD")
    rises, steps = measured.trace.rises, measured.trace.steps
    return Gate(
        name="loss_rises",
        passed=rises >= 0.8 * steps,
        detail=f"the loss rose in {rises} of {steps} PGD steps (accepted: 80%)",
    )


def _noise_is_weaker(measured: Measured) -> Gate:
    if measured.noise is None or measured.pgd is None:
        return _missing("noise_is_weaker", "noise or PGD")
    escaped = _share(~measured.noise & measured.pgd)
    return Gate(
        name="noise_is_weaker",
        passed=_within(escaped, SLACK),
        detail=f"{escaped:.1%} of images fall to noise but not to PGD (accepted: {SLACK:.1%})",
    )


def _iterative_beats_single_step(measured: Measured) -> Gate:
    if measured.fgsm is None or measured.pgd is None:
        return _missing("iterative_beats_single_step", "FGSM or PGD")
    fgsm, pgd = _share(measured.fgsm), _share(measured.pgd)
    return Gate(
        name="iterative_beats_single_step",
        passed=fgsm >= pgd,
        detail=f"accuracy: FGSM {fgsm:.1%}, PGD {pgd:.1%}",
    )


def _converged(measured: Measured) -> Gate:
    if measured.pgd is None or measured.longer is None:
        return _missing("converged", "PGD")
    gain = _share(measured.pgd) - _share(measured.longer)
    return Gate(
        name="converged",
        passed=_within(gain, SLACK),
        detail=f"twice the steps break {gain:.1%} more (accepted: {SLACK:.1%})",
    )


def _monotone(measured: Measured) -> Gate:
    accuracies = [accuracy for _, accuracy in measured.by_eps]
    falls = all(_within(later - earlier, SLACK) for earlier, later in pairwise(accuracies))
    listed = ", ".join(f"{eps:.3f}: {accuracy:.1%}" for eps, accuracy in measured.by_eps)
    return Gate(name="monotone_in_eps", passed=falls, detail=f"accuracy under PGD by eps {listed}")


def _large_eps_breaks(measured: Measured) -> Gate:
    # An eps that can erase the picture leaves chance; who stays right beyond it hides the gradient.
    *_, (first_eps, first), (_, _), (last_eps, last) = measured.by_eps
    accepted = max(ERASING, 1.0 / measured.classes)
    return Gate(
        name="large_eps_breaks",
        passed=first <= accepted and last <= 1.0 / measured.classes,
        detail=f"accuracy {first:.1%} at eps {first_eps:g} (accepted: {accepted:.0%}), "
        f"{last:.1%} at eps {last_eps:g} (accepted: chance)",
    )


def _black_box_adds_nothing(measured: Measured) -> Gate:
    if measured.auto is None:
        return _missing("black_box_adds_nothing", "AutoAttack")
    gain = _share(measured.auto.before_square) - _share(measured.auto.standing)
    return Gate(
        name="black_box_adds_nothing",
        passed=_within(gain, SQUARE_SLACK),
        detail=f"Square breaks {gain:.1%} after the gradient attacks (accepted: {SQUARE_SLACK:.1%})",
    )


def _autoattack_agrees(measured: Measured) -> Gate:
    if measured.auto is None or measured.pgd is None:
        return _missing("autoattack_agrees", "AutoAttack or PGD")
    pgd, auto = _share(measured.pgd), _share(measured.auto.standing)
    return Gate(
        name="autoattack_agrees",
        passed=_within(pgd - auto, LARGEST_GAP),
        detail=f"accuracy: PGD {pgd:.1%}, AutoAttack {auto:.1%}, "
        f"gap {pgd - auto:.1%} (accepted: {LARGEST_GAP:.0%})",
    )


def _autoattack_flags(measured: Measured) -> Gate:
    if measured.auto is None:
        return _missing("autoattack_flags", "AutoAttack")
    raised = measured.auto.warnings
    return Gate(
        name="autoattack_flags", passed=not raised, detail="; ".join(raised) or "the library raised none"
    )


def _robust_enough(measured: Measured) -> Gate:
    if measured.auto is None:
        return _missing("robust_enough", "AutoAttack")
    auto = _share(measured.auto.standing)
    return Gate(
        name="robust_enough",
        passed=auto >= MINIMUM_ROBUST,
        detail=f"accuracy {auto:.1%} under AutoAttack, at least {MINIMUM_ROBUST:.0%} needed",
    )


def _missing(name: str, what: str) -> Gate:
    return Gate(name=name, passed=None, detail=f"{what} was not run")


def _within(share: float, accepted: float) -> bool:
    # Differences of shares are not exact: 0.312 - 0.310 is a little more than 0.002.
    return share <= accepted + 1e-9


def _share(flags: Tensor) -> float:
    return float(flags.double().mean())
