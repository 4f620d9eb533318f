"""Every check of a report catches a model built to fool it, and passes the honest model it was made from."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import astuple
from pathlib import Path
from typing import Any, NamedTuple, get_args

import pytest

from probes.budget import Budget
from probes.classifier import Classifier
from probes.probe import probe
from probes.report import CheckName, ProbeReport
from probes.request import ProbeRequest
from probes.slope import FORWARDS, INNER_POINTS
from probes.threat import Norm
from tests.probes import fooling
from tests.probes.fooling import FLIPS, honest, photo
from tests.probes.models import Linear, Quantised, Randomised

WITHIN = {"eps": (0.75 * FLIPS,)}
"""A question to which "held" is the true answer: only the check itself speaks against it."""
BEYOND = {"eps": (2.0 * FLIPS,)}


FAR = {"eps": (4.0 * FLIPS,), "evidence": "full"}


class Fooled(NamedTuple):
    model: Classifier
    question: dict[str, Any]


FOOLED: dict[CheckName, Fooled] = {
    "answers_are_decided": Fooled(fooling.Drowned.like(honest()), {"eps": (1.25 * FLIPS,)}),
    "clean_image_has_the_label": Fooled(honest(), {"label": 1}),
    "deterministic": Fooled(Randomised(honest(), scale=0.1, honest=True), WITHIN),
    "flips_persist": Fooled(
        fooling.Reversed.like(honest(smooth=True)), {"eps": (4 * FLIPS,), "evidence": "full"}
    ),
    "gradient_graph_agrees": Fooled(fooling.Disagreeing.like(honest()), WITHIN),
    "gradient_is_the_slope": Fooled(fooling.Diverted.like(honest()), BEYOND),
    "gradient_not_zero": Fooled(Quantised(honest()), WITHIN),
    "huge_eps_flips": Fooled(fooling.Reversed.like(honest()), WITHIN),
    "iterative_beats_single_step": Fooled(fooling.RightAtTheImage.like(honest()), WITHIN),
    "larger_budget_agrees": Fooled(fooling.decoys(), {**BEYOND, "restarts": 4, "evidence": "full"}),
    "logits_finite": Fooled(fooling.Undefined.like(honest()), WITHIN),
    "loss_rises": Fooled(fooling.Reversed.like(honest()), WITHIN),
    "loss_settles": Fooled(fooling.BitByBit.like(honest()), WITHIN),
    "noise_does_not_beat_attack": Fooled(fooling.Grainy.like(honest()), {**WITHIN, "restarts": 1}),
    "queries_do_not_beat_attack": Fooled(fooling.Reversed.like(honest(smooth=True)), WITHIN),
    "served_classifier_confirms": Fooled(fooling.Disagreeing.like(honest()), WITHIN),
}
"""By the check that must fail, whatever else does."""


def ask(model: Classifier, seed: int = 0, **options: Any) -> ProbeReport:
    return probe(model, photo(seed), ProbeRequest(**options), trained_eps=None, budget=Budget())


def failed(report: ProbeReport) -> set[str]:
    return {check.check for check in report.evidence if not check.passed}


def test_every_check_has_a_model_that_it_catches() -> None:
    assert set(FOOLED) == set(get_args(CheckName))


def test_the_page_lists_every_check_and_the_cost_of_measuring_the_slope() -> None:
    page = (Path(__file__).parents[2] / "docs" / "probe.md").read_text(encoding="utf-8")
    table = page.partition("## The checks")[2].partition("###")[0]
    assert set(re.findall(r"^\| `(\w+)`", table, flags=re.MULTILINE)) == set(get_args(CheckName))
    assert f"{FORWARDS} forward and {INNER_POINTS} gradient evaluations" in page


@pytest.mark.parametrize("check", sorted(FOOLED))
def test_a_check_catches_what_was_built_to_fool_it(check: CheckName) -> None:
    report = ask(FOOLED[check].model, **FOOLED[check].question)
    assert check in failed(report)
    assert report.verdict != "held"


@pytest.mark.parametrize("logit", [-1e4, -65504.0, -1e9])
@pytest.mark.parametrize("check", sorted(FOOLED))
def test_a_class_that_is_ruled_out_blinds_no_check(check: CheckName, logit: float) -> None:
    fooled = FOOLED[check]
    report = ask(fooling.RulingOut(fooled.model, logit), **fooled.question)
    assert check in failed(report)
    assert report.verdict != "held"


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
@pytest.mark.parametrize("logit", [-1e4, -65504.0, -1e9])
def test_a_class_that_is_ruled_out_changes_no_answer(norm: Norm, logit: float) -> None:
    model = honest(norm=norm, flips=RADII[norm])
    third, masked = (fooling.RulingOut(model, one) for one in (-100.0, logit))
    plain, with_third, with_mask = (ask(each, norm=norm) for each in (model, third, masked))
    assert not failed(with_mask)
    assert with_mask.minimal_eps == with_third.minimal_eps
    # A model of two classes is searched in smaller batches, in which float32 rounds differently.
    assert astuple(with_mask.minimal_eps) == pytest.approx(astuple(plain.minimal_eps), rel=1e-6)


def test_in_l1_too_few_steps_show_when_they_are_doubled() -> None:
    # Fewer steps than values to be moved; the last of them are short, so the loss rises little at the end.
    model, question = honest(norm="l1", flips=8.0), {"norm": "l1", "eps": (6.0,), "steps": 8}
    assert "loss_settles" in failed(ask(fooling.ValueByValue.like(model), **question))
    assert not failed(ask(model, **question))


def test_the_larger_budget_aims_at_single_classes_in_l1_too() -> None:
    # Auto-PGD would go back from where it climbs if it looked at the label's loss instead of its own.
    model = fooling.decoys_in_l1(flips=8.0, parts=4)
    report = ask(model, norm="l1", eps=(12.0,), restarts=4, evidence="full")
    assert "larger_budget_agrees" in failed(report)
    assert report.verdict == "flipped"


def test_zero_gradients_at_the_eps_of_the_verdict_count_however_many_balls_there_are() -> None:
    # Where they vanish is reached in the last ball alone.
    inner = tuple(share * FLIPS for share in (0.01 * number for number in range(1, 31)))
    report = ask(fooling.Vanishing.like(honest()), eps=(*inner, 0.75 * FLIPS))
    assert "gradient_not_zero" in failed(report)
    alone = ask(fooling.Vanishing.like(honest()), eps=inner)
    assert "gradient_not_zero" not in failed(alone)


def test_points_that_only_the_larger_budget_reaches_must_be_decided_too() -> None:
    report = ask(fooling.DrownedDecoys(fooling.decoys().weights), restarts=4, evidence="full", **BEYOND)
    assert report.minimal_eps.flipped is None
    assert "answers_are_decided" in failed(report)


RADII: dict[Norm, float] = {"linf": FLIPS, "l2": 1.0, "l1": 8.0}
"""Where the honest model flips."""
WRONG: dict[str, Callable[[Linear], Classifier]] = {
    "diverted": fooling.Diverted.like,
    "half-hidden": fooling.HalfHidden.like,
    "quantised": fooling.StraightThrough,
    "reversed": fooling.Reversed.like,
    "right-at-the-image": fooling.RightAtTheImage.like,
    "shattered": fooling.Shattered,
}


@pytest.mark.parametrize("norm", RADII)
@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("loss", ["auto", "cross-entropy", "margin"])
def test_a_gradient_that_is_not_the_slope_is_named(norm: Norm, wrong: str, loss: str) -> None:
    model = WRONG[wrong](honest(norm=norm, flips=RADII[norm]))
    report = ask(model, norm=norm, eps=(0.75 * RADII[norm],), loss=loss)
    assert "gradient_is_the_slope" in failed(report)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("smooth", [False, True])
@pytest.mark.parametrize("evidence", ["quick", "full"])
@pytest.mark.parametrize("wrong", ["diverted", "shattered"])
def test_an_attack_that_a_wrong_gradient_leads_astray_never_holds(
    wrong: str, evidence: str, smooth: bool, seed: int
) -> None:
    report = ask(WRONG[wrong](honest(seed, smooth=smooth)), seed, evidence=evidence, **BEYOND)
    assert report.verdict != "held"


@pytest.mark.parametrize("norm", RADII)
@pytest.mark.parametrize("loss", ["auto", "cross-entropy"])
@pytest.mark.parametrize("share", [0.01, 0.1, 0.9])
def test_the_honest_model_holds_inside_of_its_distance(norm: Norm, loss: str, share: float) -> None:
    report = ask(honest(norm=norm, flips=RADII[norm]), norm=norm, eps=(share * RADII[norm],), loss=loss)
    assert report.verdict == "held" and not failed(report)


@pytest.mark.parametrize("evidence", ["quick", "full"])
def test_the_honest_model_passes_every_check(evidence: str) -> None:
    report = ask(honest(), evidence=evidence, **WITHIN)
    assert report.verdict == "held" and not failed(report)
    absent = set(get_args(CheckName)) - {check.check for check in report.evidence}
    assert absent == {"clean_image_has_the_label"} | (
        {"larger_budget_agrees"} if evidence == "quick" else set()
    )
