"""Models of two classes, where the margin takes the place of the cross-entropy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from probes.arrays import Array
from probes.classifier import Gradient
from probes.losses import Loss
from probes.request import ProbeRequest
from probes.threat import Norm
from probes.two_classes import by_margin
from tests.probes.consistency import NORMS, ask, closed_form
from tests.probes.models import Linear, Scaled, grey, many_class, two_class

SURE = 1e4
"""Times the logits of a model whose cross-entropy has no gradient in float32 any more."""


@pytest.mark.parametrize("loss", ["auto", "cross-entropy"])
@pytest.mark.parametrize("norm", NORMS)
def test_a_sure_model_of_two_classes_holds_within_its_distance(norm: Norm, loss: str) -> None:
    eps = 0.8 * closed_form(two_class(), grey(), norm)
    report = ask(Scaled(two_class(), SURE), grey(), norm=norm, loss=loss, eps=(eps,), evidence="full")
    assert [check for check in report.evidence if not check.passed] == []
    assert (report.verdict, report.minimal_eps.held) == ("held", eps)


@pytest.mark.parametrize("norm", NORMS)
def test_a_search_ends_at_the_boundary_of_a_sure_model(norm: Norm) -> None:
    expected = closed_form(two_class(), grey(), norm)
    report = ask(Scaled(two_class(), SURE), grey(), norm=norm, loss="cross-entropy", every_class=True)
    (other,) = report.classes or ()
    assert report.minimal_eps.flipped == other.flipped == pytest.approx(expected, rel=0.02)
    assert report.minimal_eps.held is not None and report.minimal_eps.held >= 0.98 * expected


QUESTIONS: list[dict[str, Any]] = [
    {},
    {"loss": "cross-entropy"},
    {"eps": (2 / 255,), "restarts": 4},
    {"every_class": True},
    {"target": 1},
    {"norm": "l1", "evidence": "full"},
]


class Watched(Linear):
    def __init__(self, model: Linear) -> None:
        super().__init__(model.weights, model.bias)
        object.__setattr__(self, "climbed", set())

    def gradient(self, images: Array, labels: Array, targets: Array, losses: Array) -> Gradient:
        self.climbed.update(losses.tolist())  # type: ignore[attr-defined]
        return super().gradient(images, labels, targets, losses)


@pytest.mark.parametrize("question", QUESTIONS, ids=str)
def test_the_margin_alone_is_climbed_and_the_report_says_so(question: dict[str, Any]) -> None:
    model = Watched(two_class())
    report = ask(model, grey(), **question)
    assert model.climbed == {int(Loss.MARGIN)}  # type: ignore[attr-defined]
    assert report.budget.loss == "margin"


@pytest.mark.parametrize("question", QUESTIONS, ids=str)
def test_of_more_classes_the_cross_entropy_is_climbed_too(question: dict[str, Any]) -> None:
    model = Watched(many_class(classes=3))
    report = ask(model, grey(), **{**question, **({"target": 0} if "target" in question else {})})
    assert int(Loss.CROSS_ENTROPY) in model.climbed  # type: ignore[attr-defined]
    assert report.budget.loss == question.get("loss", "auto")


def test_the_rest_of_a_request_stays_as_it_is() -> None:
    request = ProbeRequest(norm="l2", eps=(0.5,), loss="cross-entropy", seed=3)
    assert by_margin(two_class(), request)[1] == ProbeRequest(norm="l2", eps=(0.5,), loss="margin", seed=3)


@pytest.mark.parametrize("question", [{}, {"target": 1}], ids=str)
def test_nothing_is_searched_twice(question: dict[str, Any]) -> None:
    # To lose the one class is to reach the other.
    begun: list[int] = []

    class Watched(Linear):
        def gradient(self, images: Array, labels: Array, targets: Array, losses: Array) -> Gradient:
            begun.append(int(np.sum(np.all(images == grey(), axis=(1, 2, 3)))))
            return super().gradient(images, labels, targets, losses)

    model = two_class(margin=1.0)
    label = int(model.logits(grey()[None]).argmax())
    if question:
        question = {"target": 1 - label}
    ask(Watched(model.weights, model.bias), grey(), **question)
    assert begun[0] == 1 and sum(begun[1:21]) == 0
