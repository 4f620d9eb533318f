"""Answers are JSON that every parser takes."""

from __future__ import annotations

import json
import math

import pytest

from serving.json_answer import JsonAnswer


def test_an_answer_says_what_it_was_given() -> None:
    content = {
        "label": 'NaN and Infinity, \N{EURO SIGN} " \\',
        "numbers": [1e-9, 0.1, -0.0, 2**53 + 1, True, None],
    }
    body = bytes(JsonAnswer(content).body)
    assert json.loads(body) == content
    assert "\N{EURO SIGN}".encode() in body and b": " not in body


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_number_without_a_name_in_json_is_refused(number: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        JsonAnswer({"probability": [number]})
