"""Searches that go on from an example that the attack itself did not find."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from probes.arrays import Array, flatten
from probes.budget import Budget
from probes.classifier import Gradient
from probes.findings import Findings
from probes.goal import Goal
from probes.ladder import Aim, Ladder
from probes.losses import Loss, loss_and_cotangent
from probes.minimal_eps import bracket, reopen
from probes.threat import Norm, threat_named
from tests.probes.consistency import ask
from tests.probes.models import SHAPE, grey

VALUES = int(np.prod(SHAPE))
FAR, NEAR = 0.1, 0.03
"""The distances in l-inf of the class that attacks see, and of the one that they do not."""
LIGHT = np.ones(VALUES) / (VALUES * NEAR)
ONE_VALUE = np.eye(VALUES)[0] / NEAR


@dataclass(frozen=True)
class Hidden:
    """Class 1 is won by a checkerboard that `far` takes; class 2 by less, but its logit is flat except close
    to its boundary. All gradients are true."""

    hidden: Array
    """float64[D]: how fast class 2 approaches its boundary, which lies at 1."""
    far: float = FAR

    def logits(self, images: Array) -> Array:
        seen, hidden = self._rise(images)
        third = np.where(hidden > 0.9, 12.0 * (hidden - 1.0), -12.0)
        return np.stack([np.zeros_like(seen), seen - 1.0, third], axis=1).astype(np.float32)

    def gradient(self, images: Array, labels: Array, targets: Array, losses: Array) -> Gradient:
        logits = self.logits(images)
        value, cotangent = loss_and_cotangent(logits, labels, targets, losses)
        shown = np.where(self._rise(images)[1] > 0.9, 12.0, 0.0) * cotangent[:, 2]
        back = cotangent[:, 1, None] * self._seen() + shown[:, None] * self.hidden
        return Gradient(logits, value, back.reshape(images.shape).astype(np.float32))

    def _seen(self) -> Array:
        return np.where(np.arange(VALUES) % 2, 1.0, -1.0) / (VALUES * self.far)

    def _rise(self, images: Array) -> tuple[Array, Array]:
        delta = flatten(images.astype(np.float64) - grey())
        return delta @ self._seen(), delta @ self.hidden


class Ring(Hidden):
    """Flips where every value has moved by about two fifths of what class 1 takes, and at class 1."""

    def logits(self, images: Array) -> Array:
        moved = np.abs(images - grey()) / self.far
        inside = (np.min(moved, axis=(1, 2, 3)) > 0.39) & (np.max(moved, axis=(1, 2, 3)) < 0.41)
        logits = super().logits(images)
        return np.where(inside[:, None], logits[:, [1, 0, 2]], logits)


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
    ladder = _ladder(Hidden(np.ones(VALUES) / (VALUES * per_value), far=0.4), norm)
    point = grey()[None] + np.float32(3.0 * per_value)
    ladder.findings.judge(point, np.asarray([3.1 * near]))
    assert ladder.findings.smallest().eps == pytest.approx(3.0 * near, rel=1e-4)

    reopen(ladder, max_eps=6.0 * near, steps=20)

    held, flipped = bracket(ladder, ladder.findings)
    assert near < flipped < 2.8 * near
    assert flipped - held <= 0.02 * flipped


def _ladder(model: Hidden, norm: Norm) -> Ladder:
    budget = Budget()
    return Ladder(
        model,
        Findings(model, grey(), goal=Goal(label=0), norm=norm, budget=budget),
        threat=threat_named(norm),
        aims=(Aim(Loss.MARGIN), Aim(Loss.CROSS_ENTROPY)),
        restarts=2,
        seed=0,
        budget=budget,
        on_step=lambda: None,
    )
