"""The parts of a report, read from the findings."""

from __future__ import annotations

from probes.eight_bit import from_levels, is_eight_bit, to_levels
from probes.findings import Findings
from probes.ladder import Ladder
from probes.report import CurvePoint, Images, amplified_difference
from probes.request import ProbeRequest


def radii(ladder: Ladder, request: ProbeRequest, *, verdict_eps: float) -> list[float]:
    """The eps of the curve, ascending: what was asked, or, in a search, 0, every eps attacked in vain or
    looked at, the nearest example's, and the verdict's."""
    if request.eps is not None:
        return sorted(set(request.eps))
    example = ladder.findings.smallest()
    return sorted(
        {0.0, *ladder.completed, *ladder.looked, verdict_eps, *([] if example is None else [example.eps])}
    )


def curve_point(ladder: Ladder, eps: float, noise_margin: float | None) -> CurvePoint:
    """What is known about the ball of radius `eps`: label, probability and margin are its worst point's.

    Whether it flips is not known where it was not attacked, nor where rounding decides.
    """
    findings = ladder.findings
    flipped = findings.flipped(eps)
    if not flipped and eps > 0 and not ladder.attacked_in_vain(eps):
        return CurvePoint(
            eps=eps, flipped=None, flipped_8bit=None, prediction=None, margin=None, noise_margin=noise_margin
        )
    undecided = findings.undecided(eps)
    flipped_8bit: bool | None = findings.flipped(eps, eight_bit=True)
    if not flipped_8bit and (
        undecided
        or findings.undecided(eps, eight_bit=True)
        or (flipped and not ladder.attacked_on_the_grid(eps))
    ):
        flipped_8bit = None
    worst = findings.worst(eps)
    return CurvePoint(
        eps=eps,
        flipped=None if undecided else flipped,
        flipped_8bit=flipped_8bit,
        prediction=worst.prediction,
        margin=worst.margin,
        noise_margin=worst.margin if eps == 0 else noise_margin,
    )


def images(findings: Findings, request: ProbeRequest) -> Images:
    """The nearest 8-bit example as images, as far as they were asked for."""
    if not request.include:
        return Images(reason="no images were asked for")
    example = findings.smallest(eight_bit=True)
    if example is None:
        found = findings.smallest() is not None
        return Images(reason="no example survives rounding to 8 bits" if found else "no example was found")
    clean = findings.clean if not is_eight_bit(findings.clean) else from_levels(to_levels(findings.clean))
    return Images(
        adversarial=example.image if "adversarial" in request.include else None,
        difference=amplified_difference(example.image, clean) if "difference" in request.include else None,
        prediction=example.prediction,
        eps=example.eps,
    )
