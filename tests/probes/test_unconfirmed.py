"""Examples that an attack claims and the served classifier denies."""

from __future__ import annotations

import numpy as np
import pytest

from probes import evidence
from probes.arrays import Array, flatten
from probes.classifier import Gradient
from probes.report import Check
from probes.request import ProbeRequest
from tests.probes.attacking import ladder_around
from tests.probes.consistency import ask
from tests.probes.fooling import FLIPS, Copy, honest, photo
from tests.probes.models import Linear, grey


class Overclaiming(Copy):
    """Its gradient graph sees an example in every image that a value has moved in by more than half of what
    flips, and is right about all others."""

    def gradient(self, images: Array, labels: Array, targets: Array, losses: Array) -> Gradient:
        logits, value, gradient = super().gradient(images, labels, targets, losses)
        claimed = np.max(np.abs(images - photo()), axis=(1, 2, 3)) > 0.5 * FLIPS
        return Gradient(np.where(claimed[:, None], [[0.0, 9.0]], logits), value, gradient)


def confirmed(checks: list[Check]) -> Check:
    (check,) = (check for check in checks if check.check == "served_classifier_confirms")
    return check


def test_claims_beyond_the_ball_of_the_verdict_do_not_weaken_it() -> None:
    report = ask(Overclaiming.like(honest()), photo(), trained_eps=0.25 * FLIPS, max_eps=0.9 * FLIPS)
    assert report.verdict == "held", report.meaning
    check = confirmed(list(report.evidence))
    assert check.passed and "; beyond eps 0.003922, " in check.detail


class OverclaimingOneClass(Linear):
    """Of three classes the second is near; its gradient graph sees the third, which is farther, too early."""

    def gradient(self, images: Array, labels: Array, targets: Array, losses: Array) -> Gradient:
        logits, value, gradient = super().gradient(images, labels, targets, losses)
        moved = flatten(images - grey())
        early = (np.min(moved[:, 24:], axis=1) > 0.04) & (np.max(np.abs(moved[:, :24]), axis=1) < 0.01)
        return Gradient(np.where(early[:, None], [[0.0, 0.0, 9.0]], logits), value, gradient)


def test_no_eps_is_held_within_which_a_claim_was_denied() -> None:
    weights = np.zeros((3, 48), dtype=np.float32)
    weights[1, :24], weights[2, 24:] = 1 / (24 * 0.1), 1 / (24 * 0.2)
    bias = np.asarray([1, 0, 0], dtype=np.float32) - weights @ grey().ravel()

    report = ask(OverclaimingOneClass(weights, bias), grey(), trained_eps=0.02)

    assert (report.verdict, report.eps) == ("held", 0.02)
    assert report.minimal_eps.flipped == pytest.approx(0.1, rel=0.01)
    assert "beyond eps 0.02, 1" in confirmed(list(report.evidence)).detail
    assert report.minimal_eps.held < 0.09


@pytest.mark.parametrize("question", [{"eps": (0.9 * FLIPS,)}, {"max_eps": 0.9 * FLIPS}], ids=str)
def test_claims_inside_of_the_ball_make_it_inconclusive(question: dict[str, object]) -> None:
    report = ask(Overclaiming.like(honest()), photo(), **question)
    assert report.verdict == "inconclusive"
    assert not confirmed(list(report.evidence)).passed


@pytest.mark.parametrize(
    ("claimed_at", "flips_at", "passed"),
    [(0.5, None, False), (1.0, None, False), (1.5, None, True), (1.5, 3.0, True), (1.5, 1.0, False)],
)
def test_once_the_verdict_is_flipped_every_claim_counts(
    claimed_at: float, flips_at: float | None, passed: bool
) -> None:
    climbing, weights = ladder_around(honest(), photo()), honest().weights
    uphill = np.sign(weights[1] - weights[0]).reshape(1, 3, 32, 32).astype(np.float32)
    findings, eps = climbing.findings, 2.0 * FLIPS
    sizes = np.asarray([claimed_at * eps])
    findings.judge(photo()[None] - sizes.astype(np.float32) * uphill, sizes, claimed=True)
    if flips_at is not None:
        sizes = np.asarray([flips_at * eps])
        findings.judge(photo()[None] + sizes.astype(np.float32) * uphill, sizes, claimed=True)
    assert findings.unconfirmed == pytest.approx([claimed_at * eps], abs=1e-7)

    clean = findings.logits(photo()[None])
    request = ProbeRequest(eps=(eps,))
    checks = evidence.gather(climbing, request, clean, eps=eps, verdict_eps=eps, searched=eps, noise={})

    assert confirmed(checks).passed == passed
