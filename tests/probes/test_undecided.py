"""Balls in which only rounding gives a point another class: nothing holds there, and nothing flips."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from probes import probe
from probes.arrays import Array
from probes.budget import Budget
from probes.eight_bit import is_eight_bit
from probes.findings import Findings
from probes.goal import Goal
from probes.ladder import Ladder
from tests.probes.consistency import ask
from tests.probes.fooling import FLIPS, Copy, Drowned, honest, photo
from tests.probes.hidden import ONE_VALUE, Hidden
from tests.probes.models import Linear, grey


def test_the_curve_does_not_say_that_such_a_ball_flips_nor_that_it_does_not() -> None:
    inner, outer = ask(Drowned.like(honest()), photo(), eps=(0.5 * FLIPS, 1.25 * FLIPS)).curve
    assert (inner.flipped, inner.flipped_8bit) == (False, False)
    assert outer.prediction is not None and outer.margin is not None
    assert outer.prediction.index == 1 and outer.margin < 0
    assert (outer.flipped, outer.flipped_8bit) == (None, None)


@dataclass(frozen=True, slots=True)
class DrownedOnTheGrid(Copy):
    """Answers whole 8-bit levels by less than rounding, and other values surely."""

    def logits(self, images: Array) -> Array:
        whole = np.asarray([is_eight_bit(image) for image in images])
        drowned = Drowned.like(honest()).logits(images)
        return np.where(whole[:, None], drowned, super(DrownedOnTheGrid, self).logits(images))


def test_the_curve_does_not_say_that_levels_do_not_flip_where_rounding_decides_them() -> None:
    inner, outer = ask(DrownedOnTheGrid.like(honest()), photo(), eps=(0.5 * FLIPS, 1.25 * FLIPS)).curve
    assert (inner.flipped, inner.flipped_8bit) == (False, False)
    assert (outer.flipped, outer.flipped_8bit) == (True, None)


def test_such_a_ball_is_not_held_but_the_one_inside_of_it_is() -> None:
    report = ask(Drowned.like(honest()), photo(), eps=(0.5 * FLIPS, 1.25 * FLIPS))
    assert report.verdict == "inconclusive"
    assert (report.minimal_eps.held, report.minimal_eps.flipped) == (0.5 * FLIPS, None)


def test_a_search_holds_nothing_at_which_rounding_decides() -> None:
    report = ask(Drowned.like(honest()), photo(), trained_eps=0.5 * FLIPS)
    assert report.verdict == "held"
    held, flipped = report.minimal_eps.held, report.minimal_eps.flipped
    assert held is not None and flipped is not None
    assert 0.5 * FLIPS <= held < FLIPS < flipped
    undecided = [point for point in report.curve if point.eps > FLIPS and point.margin is not None]
    assert all(point.flipped is None for point in undecided if point.eps < flipped)


@pytest.mark.parametrize("target", [None, 1])
def test_a_tie_that_is_answered_otherwise_counts_behind_one_that_is_not(target: int | None) -> None:
    @dataclass(frozen=True)
    class Tied(Linear):
        """Answers the tie of classes 0 and 1 for dark images, that of 1 and 2 for others."""

        def logits(self, images: Array) -> Array:
            dark = np.mean(images, axis=(1, 2, 3)) < 0.5
            return np.where(dark[:, None], [[1.0, 1.0, 0.0]], [[1e6, 1e6 + 0.0625, 0.0]]).astype(np.float32)

    image = np.full((3, 4, 4), 0.5, dtype=np.float32)
    model = Tied(np.zeros((3, 48), np.float32), np.zeros((3,), np.float32))
    findings = Findings(model, image, goal=Goal(label=0, target=target), norm="linf", budget=Budget())
    findings.judge(image[None] - np.float32(0.01), np.asarray([0.02]))
    assert not findings.undecided(0.02)
    findings.judge(image[None] + np.float32(0.03), np.asarray([0.04]))
    assert (findings.undecided(0.02), findings.undecided(0.04)) == (False, True)
    assert findings.smallest() is None


def test_an_example_decides_every_ball_that_it_lies_in() -> None:
    findings = Findings(Drowned.like(honest()), photo(), goal=Goal(label=0), norm="linf", budget=Budget())
    weights = honest().weights
    towards = np.sign(weights[1] - weights[0]).reshape(1, 3, 32, 32).astype(np.float32)
    findings.judge(photo()[None] + np.float32(1.25 * FLIPS) * towards, np.asarray([1.25 * FLIPS]))
    findings.judge(photo()[None] + np.float32(3.0 * FLIPS) * towards, np.asarray([3.0 * FLIPS]))
    flips = [findings.flipped(share * FLIPS) for share in (1.0, 1.25, 3.0)]
    assert flips == [False, False, True]
    assert [findings.undecided(share * FLIPS) for share in (1.0, 1.25, 3.0)] == [False, True, False]


class TiedNearby(Hidden):
    """Close to one image the second class is ahead by less than rounding."""

    def logits(self, images: Array) -> Array:
        tied = np.max(np.abs(images - nearby()), axis=(1, 2, 3)) < 1e-6
        rounded = np.asarray([[1e6, 1e6 + 0.0625, 0.0]], dtype=np.float32)
        return np.where(tied[:, None], rounded, super().logits(images))


def nearby() -> Array:
    moved = grey()
    moved[0, 0, 0] += np.float32(0.001)
    return moved


def test_what_a_reopened_search_comes_across_is_no_more_held(monkeypatch: pytest.MonkeyPatch) -> None:
    def look_nearby(ladder: Ladder, *, max_eps: float, steps: int) -> None:
        assert max_eps > 0.002 and steps > 0
        ladder.findings.judge(nearby()[None], np.asarray([0.002]))

    def decided() -> bool:
        report = ask(TiedNearby(ONE_VALUE), grey(), trained_eps=0.01)
        assert (report.minimal_eps.held == 0.0) == ("answers_are_decided" in report.meaning)
        return {check.check: check.passed for check in report.evidence}["answers_are_decided"]

    assert decided()
    monkeypatch.setattr(probe, "reopen", look_nearby)
    assert not decided()
