"""Checks that expose gradient masking, weak attacks and unsound figures.

After Carlini et al. (arXiv 1902.06705), Athalye et al. (arXiv 1802.00420) and AutoAttack's own flags. Each is
a pure function of what was measured. A model is called robust only if all were measured and all passed.
Those that look at something optional (a second model, Square alone, RayS) are made when it was asked for.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor

from training.evaluation.conduct import gates_on_conduct
from training.evaluation.evidence import Evidence
from training.evaluation.figures import Gate, wilson

MINIMUM_IMAGES = 1000
"""Fewer leave a figure uncertain by more than three points."""
MINIMUM_ROBUST = 0.20
"""Defences that AutoAttack broke keep 0 to 13% of CIFAR-10 (RobustBench), those that held 36% and more."""
LARGEST_GAP = 0.08
"""PGD-50-10 minus AutoAttack: 0.025 to 0.06 for soundly trained networks, 0.13 for a masked one."""
SINGLE_STEP_GAP = 0.20
"""FGSM minus PGD: up to 0.1 for soundly trained networks (Madry et al.: 0.56 and 0.46), 0.54 for one that
training with FGSM overfitted.
"""
SLACK = 0.005
"""Half a point: what random starts change from run to run. Carlini et al. accept as much for more steps."""
QUERY_SLACK = 0.002
"""What AutoAttack's own flag accepts, of Square."""
RISING = 0.8
"""Sound networks rise in nearly every step, a gradient that says nothing in half of them."""
ZERO_GRADIENTS = 0.01
"""Some images are so sure that float32 rounds their gradient to zero; more than 1% could carry a figure."""
ERASING = 0.1
"""At eps 0.1 (l-inf) a sound network for photographs keeps less accuracy than this."""
CONTROL = 0.01
"""Networks trained without defence keep 0.0% under PGD with many steps; 1% leaves room for a stray image."""


def judge(evidence: Evidence) -> tuple[Gate, ...]:
    """All gates, in the order in which they are best read."""
    return (
        _enough_images(evidence),
        *gates_on_conduct(evidence.conduct),
        _gradients_present(evidence),
        _loss_rises(evidence),
        _noise_is_weaker(evidence),
        _iterative_beats_single_step(evidence),
        _single_step_agrees(evidence),
        _converged(evidence),
        _monotone(evidence),
        _large_eps_breaks(evidence),
        _black_box_adds_nothing(evidence),
        *_queries_are_weaker("square_alone_is_weaker", "square", "Square", evidence),
        *_queries_are_weaker("hard_label_is_weaker", "rays", "RayS", evidence),
        *_transfer_is_weaker(evidence),
        *_control_breaks(evidence),
        _autoattack_agrees(evidence),
        _autoattack_flags(evidence),
        _better_than_constant(evidence),
        _robust_enough(evidence),
    )


def _enough_images(evidence: Evidence) -> Gate:
    n = len(evidence.clean)
    return _gate("enough_images", n >= MINIMUM_IMAGES, f"{n} images, at least {MINIMUM_IMAGES} needed")


def _gradients_present(evidence: Evidence) -> Gate:
    if evidence.trace is None:
        return _missing("gradients_present", "PGD")
    zero, n = evidence.trace.zero_gradients, int(evidence.clean.sum())
    return _gate(
        "gradients_present",
        zero <= ZERO_GRADIENTS * n,
        f"{zero} of {n} images have a zero gradient where PGD starts (accepted: {ZERO_GRADIENTS:.0%})",
    )


def _loss_rises(evidence: Evidence) -> Gate:
    if evidence.trace is None:
        return _missing("loss_rises", "PGD")
    rises, steps = evidence.trace.rises, evidence.trace.steps
    return _gate(
        "loss_rises",
        rises >= RISING * steps,
        f"the loss rose in {rises} of {steps} PGD steps (accepted: {RISING:.0%})",
    )


def _noise_is_weaker(evidence: Evidence) -> Gate:
    noise, pgd = evidence.standing.get("noise"), evidence.standing.get("pgd-50-10")
    if noise is None or pgd is None:
        return _missing("noise_is_weaker", "noise or PGD")
    return _adds_little("noise_is_weaker", "noise", noise, "PGD", pgd, SLACK)


def _iterative_beats_single_step(evidence: Evidence) -> Gate:
    fgsm, pgd = evidence.standing.get("fgsm"), evidence.standing.get("pgd-50-10")
    if fgsm is None or pgd is None:
        return _missing("iterative_beats_single_step", "FGSM or PGD")
    escaped = _share(~fgsm & pgd)
    return _gate(
        "iterative_beats_single_step",
        _share(fgsm) >= _share(pgd) and _within(escaped, SLACK),
        f"accuracy: FGSM {_share(fgsm):.1%}, PGD {_share(pgd):.1%}; {escaped:.1%} of images fall to FGSM "
        f"alone (accepted: {SLACK:.1%})",
    )


def _single_step_agrees(evidence: Evidence) -> Gate:
    # Catastrophic overfitting: the network has learnt to bend the loss where one step looks.
    fgsm, pgd = evidence.standing.get("fgsm"), evidence.standing.get("pgd-50-10")
    if fgsm is None or pgd is None:
        return _missing("single_step_agrees", "FGSM or PGD")
    gap = _share(fgsm) - _share(pgd)
    return _gate(
        "single_step_agrees",
        _within(gap, SINGLE_STEP_GAP),
        f"FGSM leaves {gap:.1%} more than PGD (accepted: {SINGLE_STEP_GAP:.0%})",
    )


def _converged(evidence: Evidence) -> Gate:
    pgd = evidence.standing.get("pgd-50-10")
    if pgd is None or evidence.longer is None:
        return _missing("converged", "PGD")
    gain = _share(pgd) - _share(evidence.longer)
    return _gate(
        "converged",
        _within(gain, SLACK),
        f"twice the steps break {gain:.1%} more (accepted: {SLACK:.1%})",
    )


def _monotone(evidence: Evidence) -> Gate:
    accuracies = [accuracy for _, accuracy in evidence.by_eps]
    falls = all(_within(later - earlier, SLACK) for earlier, later in pairwise(accuracies))
    # The page at /ui/ draws this list (serving/page/accuracy_chart.js).
    listed = ", ".join(f"{eps:.3f}: {accuracy:.1%}" for eps, accuracy in evidence.by_eps)
    return _gate("monotone_in_eps", falls, f"accuracy under PGD by eps {listed}")


def _large_eps_breaks(evidence: Evidence) -> Gate:
    # An eps that can erase the picture leaves chance; who stays right beyond it hides the gradient.
    chance = 1.0 / evidence.classes
    *_, (first_eps, first), (_, second), (last_eps, last) = evidence.by_eps
    accepted = max(ERASING, chance)
    return _gate(
        "large_eps_breaks",
        first <= accepted and max(second, last) <= chance,
        f"accuracy {first:.1%} at eps {first_eps:g} (accepted: {accepted:.0%}), "
        f"{max(second, last):.1%} up to eps {last_eps:g} (accepted: chance)",
    )


def _black_box_adds_nothing(evidence: Evidence) -> Gate:
    if evidence.autoattack is None:
        return _missing("black_box_adds_nothing", "AutoAttack")
    before = evidence.autoattack.stages["fab-t"].standing
    gain = _share(before) - _share(evidence.autoattack.standing)
    return _gate(
        "black_box_adds_nothing",
        _within(gain, QUERY_SLACK),
        f"Square breaks {gain:.1%} after the gradient attacks (accepted: {QUERY_SLACK:.1%})",
    )


def _queries_are_weaker(name: str, attack: str, called: str, evidence: Evidence) -> tuple[Gate, ...]:
    left = evidence.standing.get(attack)
    if left is None:
        return ()
    # Square climbs the margin, RayS asks where its sign changes: PGD on the cross-entropy is no match for
    # either on a sound model.
    if evidence.white_box is None or not evidence.targeted:
        return (_missing(name, "APGD-T or AutoAttack"),)
    return (_adds_little(name, called, left, "gradients", evidence.white_box, QUERY_SLACK),)


def _transfer_is_weaker(evidence: Evidence) -> tuple[Gate, ...]:
    name, transfer = "transfer_is_weaker", evidence.standing.get("transfer")
    if transfer is None:
        return ()
    if evidence.white_box is None:
        return (_missing(name, "an attack by gradients, in several steps,"),)
    return (_adds_little(name, "transfer", transfer, "gradients", evidence.white_box, SLACK),)


def _control_breaks(evidence: Evidence) -> tuple[Gate, ...]:
    if evidence.control is None:
        return ()
    # A control that is wrong anyway would prove nothing.
    clean, attacked = evidence.control
    return (
        _gate(
            "control_breaks",
            _within(attacked, CONTROL) and clean > evidence.commonest,
            f"the control falls from {clean:.1%} (one answer to everything: {evidence.commonest:.1%}) to "
            f"{attacked:.1%} under the same PGD (accepted: {CONTROL:.0%})",
        ),
    )


def _autoattack_agrees(evidence: Evidence) -> Gate:
    flags = evidence.standing.get("pgd-50-10")
    if evidence.autoattack is None or flags is None:
        return _missing("autoattack_agrees", "AutoAttack or PGD")
    pgd, auto = _share(flags), _share(evidence.autoattack.standing)
    return _gate(
        "autoattack_agrees",
        _within(pgd - auto, LARGEST_GAP),
        f"accuracy: PGD {pgd:.1%}, AutoAttack {auto:.1%}, gap {pgd - auto:.1%} (accepted: {LARGEST_GAP:.0%})",
    )


def _autoattack_flags(evidence: Evidence) -> Gate:
    if evidence.warnings is None:
        return _missing("autoattack_flags", "an attack of the library")
    raised = evidence.warnings
    return _gate("autoattack_flags", not raised, "; ".join(raised) or "the library raised none")


def _better_than_constant(evidence: Evidence) -> Gate:
    # No attack moves a model that gives one answer to everything.
    if not evidence.standing:
        return _missing("better_than_constant", "an attack")
    low, _ = wilson(_share(evidence.worst), len(evidence.worst))
    return _gate(
        "better_than_constant",
        low > evidence.commonest,
        f"at least {low:.1%} in the worst case (95%), one answer to everything has {evidence.commonest:.1%}",
    )


def _robust_enough(evidence: Evidence) -> Gate:
    if evidence.autoattack is None:
        return _missing("robust_enough", "AutoAttack")
    worst = _share(evidence.worst)
    return _gate(
        "robust_enough",
        worst >= MINIMUM_ROBUST,
        f"accuracy {worst:.1%} in the worst case, at least {MINIMUM_ROBUST:.0%} needed",
    )


def _adds_little(
    name: str, weak: str, weak_left: Tensor, strong: str, strong_left: Tensor, slack: float
) -> Gate:
    """Image by image: accuracies alone would hide that the weak attack breaks other images."""
    escaped = _share(~weak_left & strong_left)
    detail = f"{escaped:.1%} of images fall to {weak} but not to {strong} (accepted: {slack:.1%})"
    return _gate(name, _within(escaped, slack), detail)


def _gate(name: str, passed: bool, detail: str) -> Gate:
    return Gate(name=name, passed=passed, detail=detail)


def _missing(name: str, what: str) -> Gate:
    return Gate(name=name, passed=None, detail=f"{what} was not run")


def _within(share: float, accepted: float) -> bool:
    # Differences of shares are not exact: 0.312 - 0.310 is a little more than 0.002.
    return share <= accepted + 1e-9


def _share(flags: Tensor) -> float:
    return float(flags.double().mean())
