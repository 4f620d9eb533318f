"""Probes small models, and checks what must hold for every report."""

from __future__ import annotations

import itertools
import json
from typing import Any

from probes.arrays import Array
from probes.budget import Budget
from probes.classifier import Classifier
from probes.cost import most
from probes.prediction import predictions
from probes.probe import probe
from probes.report import ProbeReport
from probes.request import ProbeRequest
from probes.threat import Norm
from tests.probes.models import Linear, linear_distance, predicted

NORMS: list[Norm] = ["linf", "l2", "l1"]


def ask(model: Classifier, image: Array, *, trained_eps: float | None = None, **options: Any) -> ProbeReport:
    """Probes, and checks what must hold for every report."""
    request, budget = ProbeRequest(**options), Budget()
    report = probe(model, image, request, trained_eps=trained_eps, budget=budget)
    check_consistency(model, image, report)
    bound = most(request, classes=model.logits(image[None]).shape[1])
    assert budget.gradient_evaluations <= bound.gradient_evaluations
    assert budget.forward_evaluations <= bound.forward_evaluations
    return report


def check_consistency(model: Classifier, image: Array, report: ProbeReport) -> None:
    held, flipped = report.minimal_eps.held, report.minimal_eps.flipped
    assert report.prediction == predictions(model.logits(image[None]))[0]
    if flipped is not None:
        assert held is None or held < flipped
        assert report.minimal_eps_8bit is None or report.minimal_eps_8bit >= flipped
    assert (report.verdict == "flipped") == (flipped is not None and flipped <= report.eps + 1e-9)
    known = [point for point in report.curve if point.flipped is not None]
    for lower, higher in itertools.pairwise(known):
        assert lower.eps < higher.eps
        assert lower.flipped <= higher.flipped
        # Null where the 8-bit grid was not attacked: between what held and what flipped on it.
        assert lower.flipped_8bit is not True or higher.flipped_8bit is True
        assert higher.flipped_8bit is not False or lower.flipped_8bit is False
        assert higher.margin <= lower.margin
    for point in known:
        assert point.flipped == (flipped is not None and flipped <= point.eps + 1e-9)
        assert point.margin <= 0 if point.flipped else point.margin >= 0
    if report.verdict == "held":
        assert held is not None and held >= report.eps
    json.dumps(report.to_dict(), allow_nan=False)


def closed_form(model: Linear, image: Array, norm: Norm) -> float:
    """The distance of the nearest class boundary: of those between the answer and each other class."""
    label = int(predicted(model, image[None])[0])
    pairs = ([label, other] for other in range(len(model.bias)) if other != label)
    return min(linear_distance(Linear(model.weights[two], model.bias[two]), image, norm) for two in pairs)
