"""Searches that go on from an example that the attack itself did not find."""

from __future__ import annotations

import numpy as np
import pytest

from probes.arrays import Array
from probes.attacks.noise import noisy
from probes.controls import NOISE_DRAWS
from probes.ladder import Aim
from probes.losses import Loss
from probes.minimal_eps import bracket, reopen
from probes.threat import Norm, threat_named
from tests.probes.attacking import ladder_around
from tests.probes.consistency import ask
from tests.probes.hidden import FAR, LIGHT, NEAR, ONE_VALUE, VALUES, Hidden, Ring
from tests.probes.models import grey


def test_an_example_that_queries_find_is_refined_and_the_search_closes_below_it() -> None:
    report = ask(Hidden(LIGHT), grey(), evidence="full")
    held, flipped = report.minimal_eps.held, report.minimal_eps.flipped
    assert not {check.check: check.passed for check in report.evidence}["queries_do_not_beat_attack"]
    assert NEAR < flipped < 0.9 * FAR
    assert flipped - held <= 0.02 * flipped


def test_an_example_that_noise_finds_reopens_the_search() -> None:
    report = ask(Hidden(ONE_VALUE), grey())
    held, flipped = report.minimal_eps.held, report.minimal_eps.flipped
    assert NEAR < flipped < 0.9 * FAR
    assert flipped - held <= 0.02 * flipped


def test_an_example_that_the_looks_for_the_curve_find_is_narrowed_down() -> None:
    report = ask(Ring(LIGHT), grey())
    held, flipped = report.minimal_eps.held, report.minimal_eps.flipped
    assert 0.39 * FAR < flipped < 0.41 * FAR
    assert flipped - held <= 0.1 * flipped


@pytest.mark.parametrize(("norm", "near"), [("linf", NEAR), ("l2", 0.2), ("l1", 1.0)])
def test_a_reopened_search_begins_with_a_refinement(norm: Norm, near: float) -> None:
    per_value = {"linf": near, "l2": near / np.sqrt(VALUES), "l1": near / VALUES}[norm]
    model = Hidden(np.ones(VALUES) / (VALUES * per_value), far=0.4)
    ladder = ladder_around(model, grey(), norm=norm, aims=(Aim(Loss.MARGIN), Aim(Loss.CROSS_ENTROPY)))
    point = grey()[None] + np.float32(3.0 * per_value)
    ladder.findings.judge(point, np.asarray([3.1 * near]))
    # Its rounding to 8 bits may lie a little nearer.
    assert ladder.findings.smallest().eps == pytest.approx(3.0 * near, rel=0.01)

    reopen(ladder, max_eps=6.0 * near, steps=20)

    held, flipped = bracket(ladder, ladder.findings)
    assert near < flipped < 2.8 * near
    assert flipped - held <= 0.02 * flipped


def test_checks_of_what_was_found_are_made_again_when_the_search_has_gone_on() -> None:
    reach = ask(Hidden(np.eye(VALUES)[0] / FAR), grey()).minimal_eps.flipped
    near = 0.995 * _noise_goes(-np.eye(VALUES)[1], reach)
    # Noise alone finds it, less than 1% inside of the example that the attack has; the refinement goes on.
    report = ask(Hidden(-np.eye(VALUES)[1] / near), grey(), trained_eps=0.005)

    checks = {check.check: check.passed for check in report.evidence}
    vain = [point.eps for point in report.curve if 0.9 * reach < point.eps < reach and point.flipped]
    assert report.minimal_eps.flipped < 0.99 * reach <= max(vain)
    assert not checks["flips_persist"] and report.verdict == "inconclusive"


def _noise_goes(direction: Array, eps: float) -> float:
    """How far noise of this size, as a probe draws it, goes along a direction."""
    radius, sample = np.full((1,), eps, dtype=np.float32), np.zeros((1,), dtype=np.int64)
    threat, image = threat_named("linf"), grey()[None]
    moved = [
        noisy(image, threat=threat, eps=radius, draw=draw, seed=0, samples=sample) - image
        for draw in range(NOISE_DRAWS)
    ]
    return float(max(np.dot(direction, move.ravel()) for move in moved))
