"""Deadlines and cancellation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from probes.arrays import Array
from probes.budget import Budget
from probes.classifier import Classifier, Gradient
from probes.controls import NOISE_DRAWS, noise_margins
from probes.findings import batch_rows
from probes.probe import probe
from probes.report import ProbeReport
from probes.request import ProbeRequest
from tests.probes.attacking import ladder_around
from tests.probes.hidden import ONE_VALUE, Hidden
from tests.probes.models import grey, two_class

STEP = 1.0
"""Seconds that every call of the classifier below takes on its own clock."""


class Timed:
    """A model whose calls move a clock and are logged by the time they started at."""

    def __init__(self, model: Classifier) -> None:
        self.model = model
        self.calls: list[str] = []

    def at(self) -> float:
        return float(len(self.calls)) * STEP

    def logits(self, images: Array) -> Array:
        self.calls.append("logits")
        return self.model.logits(images)

    def gradient(self, images: Array, labels: Array, targets: Array, losses: Array) -> Gradient:
        self.calls.append("gradient")
        return self.model.gradient(images, labels, targets, losses)


def timed() -> Timed:
    return Timed(two_class())


QUESTIONS: list[dict[str, Any]] = [
    {},
    {"norm": "l2"},
    {"norm": "l1"},
    {"evidence": "full"},
    {"every_class": True},
    {"eps": (2 / 255, 3 / 255)},
    {"eps": (2 / 255,), "evidence": "full"},
    {"norm": "l1", "eps": (0.1,), "every_class": True, "evidence": "full"},
]


def ask(model: Timed, budget: Budget, **options: Any) -> ProbeReport:
    return probe(model, grey(), ProbeRequest(**options), trained_eps=4 / 255, budget=budget)


@pytest.mark.parametrize("seconds", [0.0, 1.0, 2.0, 5.0, 10.0, 24.0, 40.0, 100.0])
@pytest.mark.parametrize("options", QUESTIONS, ids=str)
def test_no_gradient_is_computed_after_the_deadline(seconds: float, options: dict[str, Any]) -> None:
    model = timed()
    report = ask(model, Budget(deadline=seconds, clock=model.at), **options)
    late = [call for number, call in enumerate(model.calls) if number * STEP >= seconds]
    assert "gradient" not in late
    # The clean answer, and confirming what the last batch found on floats and at 8 bits.
    assert len(late) <= 4
    if report.verdict != "flipped" and report.budget.exhausted:
        assert report.verdict == "inconclusive"
        assert report.meaning.startswith("The time was up")


def test_a_generous_deadline_changes_nothing() -> None:
    model, other = timed(), timed()
    report = ask(model, Budget(deadline=1e6, clock=model.at), eps=(2 / 255,))
    assert report.verdict == "held" and not report.budget.exhausted
    assert report.to_dict()["curve"] == ask(other, Budget(), eps=(2 / 255,)).to_dict()["curve"]


def test_what_was_not_attacked_in_time_has_no_value() -> None:
    model = timed()
    report = ask(model, Budget(deadline=6.0, clock=model.at), eps=(1 / 255, 2 / 255))
    assert [point.flipped for point in report.curve] == [None, None]
    assert [point.margin for point in report.curve] == [None, None]
    assert report.minimal_eps.held == 0.0 and report.budget.exhausted


def test_a_ball_that_only_some_restarts_had_time_for_is_not_held() -> None:
    # The first restarts of all 40 balls and the second ones of 24 share a batch.
    radii = tuple(float(eps) for eps in np.linspace(1 / 255, 2 / 255, 40))
    in_time = 3 * 21 + batch_rows(grey()) * 21
    budget = Budget(cancelled=lambda: budget.gradient_evaluations > in_time)
    report = ask(timed(), budget, eps=radii)
    assert report.minimal_eps.held == radii[23]
    assert [point.flipped for point in report.curve] == [False] * 24 + [None] * 16


def test_a_flip_found_in_time_is_reported_after_the_deadline() -> None:
    model = timed()
    report = ask(model, Budget(deadline=8.0, clock=model.at), eps=(32 / 255,), steps=4)
    assert report.verdict == "flipped"


@pytest.mark.parametrize("after", [0, 1, 3, 10, 30, 100])
@pytest.mark.parametrize("options", QUESTIONS, ids=str)
def test_cancellation_stops_within_one_step(after: int, options: dict[str, Any]) -> None:
    model = timed()
    ask(model, Budget(cancelled=lambda: len(model.calls) >= after), **options)
    late = model.calls[after:]
    assert "gradient" not in late
    assert len(late) <= 4


def test_cancellation_stops_a_search_that_was_reopened_within_one_step() -> None:
    whole = Timed(Hidden(ONE_VALUE))
    ask(whole, Budget())
    # What comes last is the round below the example that noise found.
    for after in range(len(whole.calls) - 40, len(whole.calls)):
        model = Timed(Hidden(ONE_VALUE))
        report = ask(model, Budget(cancelled=lambda model=model, after=after: len(model.calls) >= after))
        late = model.calls[after:]
        assert report.minimal_eps.flipped is not None
        assert "gradient" not in late and len(late) <= 4


@pytest.mark.parametrize("seconds", [0.0, 1.0, 2.0, 4.0])
def test_noise_stops_within_one_chunk(seconds: float) -> None:
    model, radii = timed(), [number / 5000 for number in range(1, 51)]
    budget = Budget(deadline=seconds, clock=model.at)
    ladder = ladder_around(model, grey(), budget=budget)
    margins = noise_margins(ladder, radii)
    chunks = -(-len(radii) * NOISE_DRAWS // batch_rows(grey()))
    assert len(model.calls) == min(seconds, chunks)
    measured = min(int(seconds) * batch_rows(grey()) // NOISE_DRAWS, len(radii))
    assert [margin is not None for margin in margins] == [number < measured for number in range(len(radii))]
    everything = noise_margins(ladder_around(timed(), grey()), radii)
    assert None not in everything
    assert margins[:measured] == pytest.approx(everything[:measured], rel=1e-4)


def test_a_budget_that_said_stop_keeps_saying_so() -> None:
    times = iter([5.0, 0.0])
    budget = Budget(deadline=1.0, clock=lambda: next(times))
    assert budget.stop() and budget.stop() and budget.exhausted
