"""The verdict about one threat, and what it means in words."""

from __future__ import annotations

from collections.abc import Sequence

from probes.report import Check, Verdict
from probes.request import ProbeRequest


def decide(*, flipped: bool, attacked_in_full: bool, exhausted: bool, checks: Sequence[Check]) -> Verdict:
    """`flipped` whenever an example was confirmed, whatever else happened; `held` only if the whole budget
    was spent in vain and every check passed."""
    if flipped:
        return "flipped"
    passed = all(check.passed for check in checks)
    return "held" if attacked_in_full and passed and not exhausted else "inconclusive"


def meaning(
    verdict: Verdict,
    eps: float,
    request: ProbeRequest,
    checks: Sequence[Check],
    *,
    exhausted: bool,
    already_reached: bool,
) -> str:
    """One or two sentences for people. `already_reached`: by the image itself, before any attack."""
    if already_reached:
        answer = "otherwise than the given label" if request.target is None else "as the target class"
        return f"The served model classifies the unperturbed image {answer}, so nothing was attacked."
    ball = f"within eps {eps:.6g} ({request.norm})"
    changes = "changes the served model's answer" if request.target is None else "gives the target class"
    if verdict == "flipped":
        return f"An image {ball} {changes}. One confirmed example is proof."
    if eps == 0:
        return "The ball of radius 0 holds the image only, so nothing was attacked."
    attack = "APGD" if request.norm == "l1" else "PGD"
    tried = f"{request.restarts} x {request.steps} steps of {attack}"
    if verdict == "held":
        return f"{tried} found no image {ball} that {changes}. That is no proof that there is none."
    if exhausted:
        return f"The time was up before an image {ball} that {changes} was found: nothing can be said."
    failed = ", ".join(check.check for check in checks if not check.passed)
    why = f"these checks failed: {failed}" if failed else "the attack could not be carried out in full"
    return f"No image {ball} that {changes} was found, but the search cannot be trusted: {why}."
