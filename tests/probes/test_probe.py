"""The probe as a whole, on models whose answer is known in closed form."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from probes.arrays import Array
from probes.ball import distances
from probes.budget import Budget
from probes.eight_bit import from_levels, is_eight_bit, to_levels
from probes.ladder import ROUNDING
from probes.prediction import predictions
from probes.probe import Progress, probe
from probes.request import ProbeError, ProbeRequest, smallest_eps
from probes.threat import Norm, threat_named
from tests.probes.consistency import NORMS, ask, closed_form
from tests.probes.models import Linear, grey, images, many_class, network, two_class


@pytest.mark.parametrize("norm", NORMS)
def test_eight_bit_examples_cost_at_most_what_the_grid_forces(norm: Norm) -> None:
    report = ask(two_class(), grey(), norm=norm)
    flipped, eight_bit = report.minimal_eps.flipped, report.minimal_eps_8bit
    assert flipped is not None and eight_bit is not None
    if norm == "linf":
        assert eight_bit == pytest.approx(math.ceil(flipped * 255) / 255)
    else:
        assert eight_bit <= 1.15 * flipped


def test_several_eps_in_one_probe() -> None:
    model = two_class()
    expected = closed_form(model, grey(), "linf")
    asked = (0.5 * expected, 0.0, 0.9 * expected, 1.2 * expected, 2 * expected)
    report = ask(model, grey(), eps=asked)
    assert [point.eps for point in report.curve] == sorted(asked)
    assert [point.flipped for point in report.curve] == [False, False, False, True, True]
    assert report.verdict == "flipped" and report.eps == 2 * expected
    assert report.minimal_eps.held == 0.9 * expected


def test_the_curve_at_eps_0_is_the_plain_prediction() -> None:
    model = network()
    image = images(1)[0]
    point = ask(model, image, eps=(0.0, 0.001)).curve[0]
    logits = np.sort(model.logits(image[None])[0])
    assert point.prediction == predictions(model.logits(image[None]))[0]
    assert point.margin == pytest.approx(float(logits[-1] - logits[-2]), abs=1e-6)
    assert point.flipped is False


def test_eps_0_alone_holds_and_attacks_nothing() -> None:
    report = ask(network(), images(1)[0], eps=(0.0,))
    assert (report.verdict, report.budget.gradient_evaluations) == ("held", 0)


@pytest.mark.parametrize("evidence", ["quick", "full"])
@pytest.mark.parametrize("norm", NORMS)
def test_an_honest_model_holds_below_its_boundary(norm: Norm, evidence: str) -> None:
    eps = 0.8 * closed_form(two_class(), grey(), norm)
    report = ask(two_class(), grey(), norm=norm, eps=(eps,), evidence=evidence)
    assert report.verdict == "held", report.evidence
    assert all(check.passed for check in report.evidence)
    assert "no proof" in report.meaning
    made = {check.check for check in report.evidence}
    assert {"huge_eps_flips", "queries_do_not_beat_attack", "noise_does_not_beat_attack"} <= made
    assert ("larger_budget_agrees" in made) == (evidence == "full")


@pytest.mark.parametrize("restarts", [1, 2])
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("model", [two_class(), many_class()])
def test_a_search_on_an_honest_model_fails_no_check(model: Linear, norm: Norm, restarts: int) -> None:
    report = ask(model, grey(), norm=norm, restarts=restarts)
    assert report.verdict == "flipped"
    assert [check for check in report.evidence if not check.passed] == []
    assert "loss_rises" in {check.check for check in report.evidence}


def test_a_search_tests_the_eps_trained_for() -> None:
    expected = closed_form(two_class(), grey(), "linf")
    below = ask(two_class(), grey(), trained_eps=0.5 * expected)
    assert (below.verdict, below.eps) == ("held", 0.5 * expected)
    assert 0.5 * expected in [point.eps for point in below.curve]
    above = ask(two_class(), grey(), trained_eps=2 * expected)
    assert (above.verdict, above.eps) == ("flipped", 2 * expected)
    capped = ask(two_class(), grey(), trained_eps=2 * expected, max_eps=0.5 * expected)
    assert (capped.verdict, capped.eps) == ("held", 0.5 * expected)
    assert capped.minimal_eps.flipped is None and capped.minimal_eps_8bit is None


@pytest.mark.parametrize("trained_eps", [None, 0.0])
def test_without_an_eps_trained_for_the_verdict_is_about_the_end_of_the_search(
    trained_eps: float | None,
) -> None:
    report = ask(two_class(), grey(), trained_eps=trained_eps, max_eps=0.1)
    assert (report.verdict, report.eps) == ("flipped", 0.1)


@pytest.mark.parametrize("norm", NORMS)
def test_the_returned_image_gives_what_the_report_says(norm: Norm) -> None:
    model = network()
    for image in images(4, seed=2):
        report = ask(model, image, norm=norm, include=frozenset({"adversarial", "difference"}))
        found = report.images
        assert is_eight_bit(found.adversarial)
        posted = from_levels(to_levels(found.adversarial))
        answer = predictions(model.logits(posted[None]))[0]
        assert answer.index == found.prediction.index
        assert answer.probability == pytest.approx(found.prediction.probability, rel=1e-5)
        assert found.prediction.index != report.prediction.index
        assert found.eps == report.minimal_eps_8bit
        assert float(distances(posted[None], image, norm)[0]) == pytest.approx(found.eps, abs=1e-6)
        named = [point.prediction for point in report.curve if point.flipped]
        assert named and all(point.index != report.prediction.index for point in named)
        assert found.difference.shape == image.shape
        assert found.difference.min() >= 0 and found.difference.max() <= 1


def test_images_are_left_out_unless_asked_for_and_say_why_they_are_missing() -> None:
    assert ask(two_class(), grey()).images.reason == "no images were asked for"
    held = ask(two_class(), grey(), eps=(1 / 255,), include=frozenset({"adversarial"}))
    assert held.images.adversarial is None and held.images.reason == "no example was found"
    # A ball smaller than one level of an 8-bit image holds no other 8-bit image.
    narrow = ask(two_class(margin=0.05), grey(), eps=(0.9 / 255,), include=frozenset({"adversarial"}))
    assert narrow.verdict == "flipped" and narrow.minimal_eps_8bit is None
    assert narrow.images.reason == "no example survives rounding to 8 bits"


def test_a_label_the_model_does_not_predict_is_flipped_at_eps_0() -> None:
    model, image = network(), images(1)[0]
    wrong = (predictions(model.logits(image[None]))[0].index + 1) % 5
    report = ask(model, image, label=wrong, eps=(0.0, 0.01), include=frozenset({"adversarial"}))
    assert report.verdict == "flipped"
    assert (report.minimal_eps.held, report.minimal_eps.flipped, report.minimal_eps_8bit) == (None, 0.0, 0.0)
    assert all(point.flipped and point.flipped_8bit for point in report.curve)
    assert report.evidence[0].check == "clean_image_has_the_label" and not report.evidence[0].passed
    assert "the unperturbed image otherwise than the given label" in report.meaning
    np.testing.assert_array_equal(report.images.adversarial, image)
    assert report.budget.gradient_evaluations == 0


def test_a_target_is_reached_at_its_own_distance() -> None:
    model, image = many_class(), grey()
    logits = model.logits(image[None])[0]
    order = np.argsort(-logits)
    held = ask(model, image, max_eps=1.0).minimal_eps.held
    for target in (int(order[1]), int(order[-1])):
        report = ask(model, image, target=target, max_eps=1.0, include=frozenset({"adversarial"}))
        assert report.images.prediction.index == target
        assert report.minimal_eps.flipped > held
        assert "gives the target class" in report.meaning and "changes" not in report.meaning
        inside = ask(model, image, target=target, eps=(0.1 / 255,))
        assert inside.verdict == "held"
        assert "gives the target class" in inside.meaning and "changes" not in inside.meaning
    already = ask(model, image, target=int(order[0]))
    assert (already.verdict, already.minimal_eps.flipped) == ("flipped", 0.0)
    assert "the unperturbed image as the target class" in already.meaning


def test_the_same_seed_gives_the_same_report_and_a_batch_axis_changes_nothing() -> None:
    model, image = network(), images(1, seed=5)[0]
    one, two = (ask(model, image, seed=3).to_dict() for _ in range(2))
    batched = probe(model, image[None], ProbeRequest(seed=3), trained_eps=None, budget=Budget()).to_dict()
    for report in (one, two, batched):
        del report["budget"]["seconds"]
    assert one == two == batched


@pytest.mark.parametrize("loss", ["cross-entropy", "margin", "dlr"])
def test_every_loss_finds_the_boundary_of_an_honest_model(loss: str) -> None:
    expected = closed_form(many_class(), grey(), "linf")
    flipped = ask(many_class(), grey(), loss=loss).minimal_eps.flipped
    assert flipped == pytest.approx(expected, rel=0.05)


def test_progress_counts_up_to_at_most_its_bound() -> None:
    told: list[Progress] = []
    probe(network(), images(1)[0], ProbeRequest(), trained_eps=None, budget=Budget(), progress=told.append)
    counts = [one.gradient_evaluations for one in told]
    assert counts == sorted(counts) and counts[-1] <= told[0].bound
    assert any(one.flipped is not None for one in told)


def test_progress_goes_on_while_a_certificate_is_made() -> None:
    told: list[Progress] = []
    request = ProbeRequest(certify=True, certify_samples=900)
    probe(network(), images(1)[0], request, trained_eps=None, budget=Budget(), progress=told.append)
    drawn = [one.samples for one in told]
    assert drawn == sorted(drawn) and drawn[0] == 0 and len(set(drawn)) > 2
    assert drawn[-1] == told[0].certificate_samples == 1000


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"label": 5}, "label"),
        ({"target": -1}, "target"),
        ({"norm": "l2", "eps": (7.0,)}, "eps"),
        ({"norm": "l2", "max_eps": 7.0}, "max_eps"),
        ({"eps": (0.0, 9.9e-6)}, "eps"),
        ({"norm": "l1", "eps": (9.9e-6,)}, "eps"),
        ({"norm": "l2", "eps": (6.9e-5,)}, "eps"),
        ({"max_eps": 1e-8}, "max_eps"),
    ],
)
def test_what_does_not_suit_the_model_is_refused(options: dict[str, Any], field: str) -> None:
    with pytest.raises(ProbeError) as refused:
        ask(network(), images(1)[0], **options)
    assert refused.value.field == field


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("values", [48, 3 * 224 * 224])
def test_the_smallest_eps_is_large_enough_to_be_attacked(norm: Norm, values: int) -> None:
    image = np.full((1, 1, 1, values), 0.9, dtype=np.float32)
    eps = np.asarray([smallest_eps(norm, values) * (1.0 - ROUNDING) - ROUNDING], dtype=np.float32)
    gradient = np.random.default_rng(0).normal(size=image.shape).astype(np.float32)
    threat = threat_named(norm)
    moved = image - threat.step(gradient, eps, points=image, eps=eps)
    assert float(threat.size(moved.astype(np.float64) - image)[0]) > 0.9 * eps


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((2, 3, 4, 4), np.float32),
        np.zeros((4, 4), np.float32),
        np.zeros((3, 4, 4)),
        np.full((3, 4, 4), 1.5, np.float32),
        np.full((3, 4, 4), np.nan, np.float32),
    ],
)
def test_images_that_no_model_sees_are_refused(image: Array) -> None:
    with pytest.raises(ProbeError, match="image"):
        probe(network(), image, ProbeRequest(), trained_eps=None, budget=Budget())


def test_models_without_an_answer_are_refused() -> None:
    one = Linear(np.ones((1, 48), np.float32), np.zeros((1,), np.float32))
    with pytest.raises(ProbeError, match="one class only"):
        ask(one, grey())
    broken = Linear(np.full((3, 48), np.nan, np.float32), np.zeros((3,), np.float32))
    with pytest.raises(ProbeError, match="not finite"):
        ask(broken, grey())
