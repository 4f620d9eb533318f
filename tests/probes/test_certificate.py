"""The certificate in the report of a probe."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest

from probes.budget import Budget
from probes.certificate import Certificate
from probes.classifier import Classifier
from probes.clopper_pearson import clopper_pearson_lower
from probes.probe import probe
from probes.report import ProbeReport
from probes.request import ProbeError, ProbeRequest
from probes.smoothing import ALPHA, certificate_evaluations
from tests.probes.models import Quantised, grey, many_class, two_class

CLASSES = ["ant", "bee", "cow", "dog", "elk"]


def _probe(model: Classifier, budget: Budget | None = None, **options: Any) -> ProbeReport:
    request = ProbeRequest(eps=(0.01,), **options)
    return probe(model, grey(), request, trained_eps=None, budget=budget or Budget())


def test_without_being_asked_for_there_is_none() -> None:
    report = _probe(two_class())

    assert report.certificate is None
    assert report.to_dict()["certificate"] is None
    assert certificate_evaluations(ProbeRequest()) == 0


def test_it_is_in_the_report_and_counted_and_changes_nothing_else() -> None:
    options = {"certify": True, "sigma": 0.05, "certify_samples": 50}

    plain, certified = _probe(two_class()), _probe(two_class(), **options)

    expected = certificate_evaluations(ProbeRequest(**options))
    assert expected == 150
    assert certified.budget.forward_evaluations == plain.budget.forward_evaluations + expected
    ours, theirs = certified.to_dict(classes=CLASSES), plain.to_dict(classes=CLASSES)
    certificate = ours.pop("certificate")
    assert {name: value for name, value in ours.items() if name != "budget"} == {
        name: value for name, value in theirs.items() if name not in ("budget", "certificate")
    }
    assert (certificate["label"], certificate["index"], certificate["n"]) == ("ant", 0, 50)
    assert certificate["radius_linf"] == pytest.approx(certificate["radius"] / np.sqrt(48))
    json.dumps(certificate, allow_nan=False)


def test_it_says_that_it_is_about_the_smoothed_classifier_and_how_the_norms_compare() -> None:
    certificate = _probe(two_class(), certify=True, sigma=0.05).to_dict()["certificate"]

    for words in (
        "confidence 0.999",
        "smoothed classifier",
        "standard deviation 0.05",
        "the same class",
        "nothing about the model alone",
    ):
        assert words in certificate["meaning"]


@pytest.mark.parametrize(
    ("bounds", "words"),
    [
        ({"index": 0, "radius": 0.29996, "radius_linf": 0.0062499}, "closer than 0.2999 in l2"),
        ({"index": 0, "radius": 0.29996, "radius_linf": 0.0062499}, "closer than 0.006249 in l-inf"),
        ({"index": 0, "radius": 1.23456789, "radius_linf": 3.99999e-5}, "closer than 1.234 in l2"),
        ({"index": 0, "radius": 1.23456789, "radius_linf": 3.99999e-5}, "closer than 3.999e-05 in l-inf"),
        ({"index": 0, "radius": 0.25, "radius_linf": 0.125}, "closer than 0.25 in l2"),
        ({"p_lower": 0.49996}, "a probability of 0.4999 or more"),
    ],
)
def test_no_bound_is_rounded_up(bounds: dict[str, Any], words: str) -> None:
    values: dict[str, Any] = {"index": None, "radius": None, "radius_linf": None, "p_lower": 0.9, **bounds}
    counts: dict[str, Any] = {"n0": 100, "n": 1000, "count": 950, "evaluations": 1100, "finished": True}

    certificate = Certificate(sigma=0.12, alpha=ALPHA, **values, **counts)

    assert words in certificate.meaning(predicted=0)


def test_another_answer_than_the_models_is_said() -> None:
    report = _probe(many_class(), certify=True, sigma=0.05)
    certificate = report.certificate
    assert certificate is not None and certificate.index == report.prediction.index

    other = certificate.to_dict(predicted=(report.prediction.index + 1) % 5)

    assert "another class than the model alone" in other["meaning"]


def test_an_abstention_says_why() -> None:
    certificate = _probe(two_class(margin=1e-3), certify=True).to_dict(classes=CLASSES)["certificate"]

    assert (certificate["label"], certificate["radius"]) == (None, None)
    assert "more than one half" in certificate["meaning"]


@pytest.mark.parametrize(
    ("model", "verdict"), [(two_class(), "held"), (Quantised(two_class()), "inconclusive")]
)
def test_the_attack_comes_first_and_a_deadline_in_the_certificate_leaves_its_verdict_alone(
    model: Classifier, verdict: str
) -> None:
    plain = _probe(model)
    budget = Budget()
    budget.cancelled = lambda: budget.forward_evaluations > plain.budget.forward_evaluations + 50

    report = _probe(model, budget, certify=True)

    assert report.verdict == plain.verdict == verdict
    assert report.meaning == plain.meaning
    assert not report.budget.exhausted
    assert report.certificate is not None
    assert not report.certificate.finished
    assert 50 < report.certificate.evaluations < 200
    meaning = report.to_dict()["certificate"]["meaning"]
    assert f"The time was up after {report.certificate.evaluations} of 1100 samples" in meaning


@pytest.mark.parametrize(
    ("options", "field", "hint"),
    [
        ({"sigma": 0.0}, "sigma", "from 0.001 to 1"),
        ({"sigma": 1.5}, "sigma", "from 0.001 to 1"),
        ({"sigma": float("nan")}, "sigma", "from 0.001 to 1"),
        ({"certify_samples": 9}, "certify_samples", "10 or more"),
    ],
)
def test_a_wrong_value_names_its_field_and_what_is_accepted(
    options: dict[str, Any], field: str, hint: str
) -> None:
    with pytest.raises(ProbeError, match=hint) as refused:
        ProbeRequest(certify=True, **options)
    assert refused.value.field == field


@pytest.mark.parametrize(("samples", "words"), [(1000, "1,000 samples"), (10_000, "10,000")])
def test_the_page_for_people_states_the_largest_radius(samples: int, words: str) -> None:
    page = " ".join((Path(__file__).parents[2] / "docs" / "probe.md").read_text(encoding="utf-8").split())
    bound = clopper_pearson_lower(samples, samples, alpha=ALPHA)

    assert f"times {NormalDist().inv_cdf(bound):.2f} with {words}" in page
