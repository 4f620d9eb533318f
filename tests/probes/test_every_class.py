"""A probe against every class at once: distances that are known in closed form."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from probes.budget import Budget
from probes.losses import Loss
from probes.probe import probe
from probes.report import ProbeReport
from probes.request import ProbeError, ProbeRequest
from tests.probes.fooling import FLIPS, Drowned, honest, photo
from tests.probes.models import Linear, grey, images, many_class, network, two_class


def ask(model: Linear, **options: Any) -> ProbeReport:
    request = ProbeRequest(every_class=True, **options)
    return probe(model, grey(), request, trained_eps=None, budget=Budget())


def boundary(model: Linear, target: int, norm: str) -> float:
    """A lower bound of the distance of class `target`: that of its boundary with the label alone."""
    logits = model.logits(grey()[None])[0].astype(np.float64)
    label = int(np.argmax(logits))
    difference = (model.weights[label] - model.weights[target]).astype(np.float64)
    dual = np.abs(difference).sum() if norm == "linf" else np.sqrt((difference**2).sum())
    return float((logits[label] - logits[target]) / dual)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("model", [two_class(), many_class(), many_class(seed=3)])
def test_every_other_class_gets_its_distance_and_the_nearest_comes_first(model: Linear, norm: str) -> None:
    report = ask(model, norm=norm, max_eps=1.0 if norm == "linf" else 6.0)
    assert report.classes is not None
    others = set(range(len(model.bias))) - {report.prediction.index}
    assert {one.index for one in report.classes} == others
    found = [one.flipped for one in report.classes]
    assert found == sorted(found)
    for one in report.classes:
        assert one.flipped >= boundary(model, one.index, norm) * (1 - 1e-5)
    nearest = report.classes[0]
    assert nearest.flipped <= boundary(model, nearest.index, norm) * 1.02
    assert report.minimal_eps.flipped == nearest.flipped


def test_a_class_takes_what_a_probe_with_this_target_finds() -> None:
    model = many_class()
    for one in ask(model, max_eps=1.0).classes or ():
        request = ProbeRequest(target=one.index, max_eps=1.0)
        alone = probe(model, grey(), request, trained_eps=None, budget=Budget()).minimal_eps
        assert one.flipped == pytest.approx(alone.flipped, rel=0.03)


def test_a_probe_with_one_target_ends_no_farther_than_a_probe_against_every_class() -> None:
    model, further, pairs = network(classes=10, hidden=40), 0, 0
    for image in images(4, seed=11):
        request = ProbeRequest(every_class=True)
        every = probe(model, image, request, trained_eps=None, budget=Budget()).classes or ()
        for one in every:
            alone = ProbeRequest(target=one.index)
            found = probe(model, image, alone, trained_eps=None, budget=Budget()).minimal_eps
            pairs += 1
            further += (
                found.flipped is None or found.held >= one.flipped or found.flipped > 1.02 * one.flipped
            )
    # One of them may come across a class on its way to another.
    assert pairs == 36 and further <= 1


def test_a_target_whose_example_lies_in_the_ball_is_seldom_missed_at_fixed_eps() -> None:
    model, missed = network(classes=10, hidden=40), 0
    for image in images(4, seed=11):
        request = ProbeRequest(every_class=True)
        for one in probe(model, image, request, trained_eps=None, budget=Budget()).classes or ():
            alone = ProbeRequest(target=one.index, eps=(1.05 * one.flipped,))
            report = probe(model, image, alone, trained_eps=None, budget=Budget())
            missed += report.verdict != "flipped"
    assert missed == 0


def test_classes_beyond_the_search_have_no_distance() -> None:
    report = ask(two_class(), max_eps=1 / 255)
    (other,) = report.classes or ()
    assert other.flipped is None
    assert report.verdict == "held"


def test_a_class_that_only_rounding_decides_for_has_no_distance() -> None:
    request = ProbeRequest(every_class=True, eps=(1.25 * FLIPS,))
    model = Drowned.like(honest())
    report = probe(model, photo(), request, trained_eps=None, budget=Budget())
    assert "answers_are_decided" in {check.check for check in report.evidence if not check.passed}
    assert report.minimal_eps.flipped is None
    assert [one.flipped for one in report.classes or ()] == [None]


def test_fixed_eps_bound_the_classes_too_and_what_is_found_flips() -> None:
    model = many_class()
    nearest = ask(model, max_eps=1.0).classes[0]  # type: ignore[index]
    report = ask(model, eps=(1.01 * nearest.flipped,))
    reached = [one for one in report.classes or () if one.flipped is not None]
    assert report.verdict == "flipped" and reached
    assert all(one.flipped <= 1.01 * nearest.flipped for one in reached)


def test_the_names_of_classes_are_in_the_json() -> None:
    model = many_class()
    names = ["a", "b", "c", "d", "e"]
    report = ask(model, max_eps=1.0)
    listed = report.to_dict(classes=names)["classes"]
    assert [one["label"] for one in listed] == [names[one.index] for one in report.classes or ()]
    assert ProbeRequest().every_class is False


def test_it_excludes_a_target() -> None:
    with pytest.raises(ProbeError, match="every class") as refused:
        ProbeRequest(target=1, every_class=True)
    assert refused.value.field == "target"


def test_restarts_beyond_the_losses_aim_at_single_classes() -> None:
    seen: set[tuple[int, int]] = set()

    class Watched(Linear):
        def gradient(self, images: Any, labels: Any, targets: Any, losses: Any) -> Any:
            seen.update(zip(targets.tolist(), losses.tolist(), strict=True))
            return super().gradient(images, labels, targets, losses)

    model = many_class()
    request = ProbeRequest(eps=(0.1 / 255,), restarts=6)
    probe(Watched(model.weights, model.bias), grey(), request, trained_eps=None, budget=Budget())
    others = {target for target, loss in seen if target >= 0 and loss == int(Loss.MARGIN)}
    assert len(others) == 4
    assert {(-1, int(Loss.MARGIN)), (-1, int(Loss.CROSS_ENTROPY))} <= seen


@pytest.mark.parametrize("evaluations", [20, 40, 60, 84])
def test_what_was_found_when_it_was_cancelled_is_kept(evaluations: int) -> None:
    budget = Budget(cancelled=lambda: budget.gradient_evaluations >= evaluations)
    model = many_class(seed=1)
    request = ProbeRequest(every_class=True, max_eps=1.0)
    report = probe(model, grey(), request, trained_eps=None, budget=budget)
    assert budget.exhausted and report.minimal_eps.flipped is not None
    assert any(one.flipped is not None for one in report.classes or ())


@pytest.mark.parametrize("question", [{"label": 0}, {"eps": (0.0,)}], ids=str)
def test_classes_that_nothing_was_looked_for_of_are_not_listed_as_not_found(question: dict[str, Any]) -> None:
    model = many_class()
    assert int(np.argmax(model.logits(grey()[None])[0])) != 0
    report = ask(model, **question)
    assert report.classes is None and report.to_dict()["classes"] is None
    assert "nothing was attacked" in report.meaning and report.budget.gradient_evaluations == 0


def test_classes_that_there_was_no_time_for_are_not_listed_as_not_found() -> None:
    request, budget = ProbeRequest(every_class=True), Budget(cancelled=lambda: True)
    report = probe(many_class(), grey(), request, trained_eps=None, budget=budget)
    assert report.classes is None and report.budget.exhausted
