"""What a request accepts."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest

from probes.budget import Budget
from probes.cost import most
from probes.probe import probe
from probes.request import ProbeError, ProbeRequest
from serving.settings import Settings
from tests.probes.models import grey, two_class


@pytest.mark.parametrize(
    ("options", "field", "hint"),
    [
        ({"norm": "l0"}, "norm", "linf, l2, l1"),
        ({"loss": "mse"}, "loss", "auto, cross-entropy, margin, dlr"),
        ({"evidence": "none"}, "evidence", "quick, full"),
        ({"include": frozenset({"noise"})}, "include", "adversarial, difference"),
        ({"eps": ()}, "eps", "one or several"),
        ({"eps": (0.1, -0.1)}, "eps", "0 to 1"),
        ({"eps": (1.5,)}, "eps", "0 to 1"),
        ({"eps": (math.nan,)}, "eps", "0 to 1"),
        ({"norm": "l1", "eps": (-1.0,)}, "eps", "0 or more"),
        ({"norm": "l2", "eps": (math.inf,)}, "eps", "0 or more"),
        ({"max_eps": 0.0}, "max_eps", "above 0"),
        ({"max_eps": 2.0}, "max_eps", "0 to 1"),
        ({"eps": (0.1,), "max_eps": 0.2}, "max_eps", "one of them"),
        ({"steps": 0}, "steps", "1 or more"),
        ({"restarts": 0}, "restarts", "1 or more"),
        ({"seed": -1}, "seed", "0 or more"),
        ({"seed": 2**64}, "seed", "below"),
        ({"label": 2, "target": 2}, "target", "different"),
    ],
)
def test_a_wrong_value_names_its_field_and_what_is_accepted(
    options: dict[str, Any], field: str, hint: str
) -> None:
    with pytest.raises(ProbeError, match=hint) as refused:
        ProbeRequest(**options)
    assert refused.value.field == field


def test_numbers_of_numpy_are_taken_for_what_they_are() -> None:
    for options in ({"eps": tuple(np.asarray([0.01, 0.02]))}, {"max_eps": np.float64(0.1)}):
        request = ProbeRequest(**options)
        assert all(type(eps) is float for eps in (*(request.eps or ()), request.max_eps) if eps is not None)
        report = probe(two_class(), grey(), request, trained_eps=None, budget=Budget())
        assert report.verdict in ("held", "flipped")


def test_the_search_ends_where_it_is_told_or_at_a_default_that_grows_with_the_image() -> None:
    assert ProbeRequest(max_eps=0.1).search_end(3072) == 0.1
    assert ProbeRequest().search_end(3072) == 0.25
    assert ProbeRequest(norm="l2").search_end(3072) == pytest.approx(4.99, abs=0.01)
    assert ProbeRequest(norm="l2").search_end(4 * 3072) == pytest.approx(2 * 4.99, abs=0.02)
    assert ProbeRequest(norm="l1").search_end(3072) == pytest.approx(119.7, abs=0.1)
    # Never beyond what two images of so many values can be apart.
    assert ProbeRequest(norm="l1").search_end(3) == 3.0


def test_the_bound_grows_with_what_is_asked() -> None:
    base = most(ProbeRequest(eps=(0.1,)), classes=10).total
    for more in (
        ProbeRequest(eps=(0.1, 0.2)),
        ProbeRequest(eps=(0.1,), steps=40),
        ProbeRequest(eps=(0.1,), restarts=4),
        ProbeRequest(eps=(0.1,), evidence="full"),
        ProbeRequest(eps=(0.1,), every_class=True),
        ProbeRequest(eps=(0.1,), certify=True),
        ProbeRequest(),
    ):
        assert most(more, classes=10).total > base
    many = ProbeRequest(eps=(0.1,), every_class=True)
    assert most(many, classes=100).total > 5 * most(many, classes=10).total


def test_the_settings_say_what_a_plain_search_can_cost() -> None:
    described = Settings.model_fields["probe_max_gradient_evaluations"].description or ""
    told = [int(number) for number in re.findall(r"about (\d+)", described)]
    bounds = [most(ProbeRequest(norm=norm), classes=10).total for norm in ("linf", "l1")]
    assert told == pytest.approx(bounds, rel=0.05)
