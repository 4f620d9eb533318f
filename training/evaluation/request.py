"""What an evaluation is asked for, and whether the data allows it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from probes.threat import Norm

AttackName = Literal[
    "noise", "fgsm", "pgd-50-10", "apgd-ce", "apgd-t", "square", "rays", "transfer", "autoattack"
]
ATTACKS: tuple[AttackName, ...] = get_args(AttackName)
DEFAULT_ATTACKS: tuple[AttackName, ...] = ("noise", "fgsm", "pgd-50-10", "autoattack")
"""The others are parts of AutoAttack run alone, ask for decisions only, or want a second model."""
DLR_CLASSES = 4
"""The targeted DLR loss ranks four logits."""
_NEEDS_DLR = ("apgd-t", "autoattack")
_LINF_ALONE = ("rays",)
"""They look for a corner of a cube."""
_IMAGES = 1000


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
    """Of `ATTACKS`; none of them measures clean images only. None: `DEFAULT_ATTACKS` as far as the data
    allows, which is said on the screen.
    """
    curve: bool = False
    """Measure accuracy under PGD and noise over a range of eps as well."""
    seed: int = 0
    batch_size: int = 250


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """A request with its defaults filled in."""

    n: int
    attacks: tuple[AttackName, ...]
    left_out: str
    """Why a default attack is not among them; empty if none was left out."""


def settle(request: EvaluationRequest, *, images: int, classes: int, transfer: bool) -> Settled:
    """Fill in the defaults for a test set of `images` images in `classes` classes.

    Args:
        transfer: a second model is given; then `transfer` is among the attacks, named or not.

    Raises:
        EvaluationError: there are too few images or classes for what was asked for, an attack is unknown,
            is not made in this norm or lacks its second model, or eps is out of range.
    """
    n = min(_IMAGES, images) if request.n is None else request.n
    if not 1 <= n <= images:
        raise EvaluationError(f"n={n} is not between 1 and the {images} test images")
    if not 0 < request.eps < math.inf:
        raise EvaluationError(f"eps={request.eps} must be greater than 0 (in [0, 1] pixels, such as 8/255)")
    if request.norm == "linf" and request.eps > 1:
        raise EvaluationError(
            f"eps={request.eps:g} in [0, 1] pixels is beyond any image; did you mean {request.eps:g}/255?"
        )
    asked: tuple[str, ...] = DEFAULT_ATTACKS if request.attacks is None else request.attacks
    unknown = [name for name in asked if name not in ATTACKS]
    if unknown:
        raise EvaluationError(f"unknown attack {unknown[0]!r}; accepted are: {', '.join(ATTACKS)}")
    elsewhere = [name for name in asked if name in _LINF_ALONE and request.norm != "linf"]
    if elsewhere:
        accepted = ", ".join(name for name in ATTACKS if name not in _LINF_ALONE)
        raise EvaluationError(
            f"{elsewhere[0]} attacks in linf only, not in {request.norm}; accepted there are: {accepted}"
        )
    if "transfer" in asked and not transfer:
        raise EvaluationError("transfer needs a second model to make its images on: give --transfer-from")
    attacks = tuple(name for name in ATTACKS if name in asked or (name == "transfer" and transfer))
    too_many = [name for name in attacks if name in _NEEDS_DLR and classes < DLR_CLASSES]
    if not too_many:
        return Settled(n=n, attacks=attacks, left_out="")
    listed = ", ".join(too_many)
    reason = f"its targeted losses need {DLR_CLASSES} classes, the data has {classes}"
    if request.attacks is not None:
        raise EvaluationError(f"{listed}: {reason}; name the other attacks instead")
    rest = tuple(name for name in attacks if name not in too_many)
    return Settled(n=n, attacks=rest, left_out=f"{listed} is left out: {reason}")
