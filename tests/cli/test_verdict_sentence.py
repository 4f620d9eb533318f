"""The first sentence of a report claims what was found, and nothing more."""

from __future__ import annotations

from typing import Any

import pytest

from cli.verdict_sentence import caveat, verdict_sentence

FLIP = {"eps": 7 / 255, "flipped": True, "label": "dog"}
HELD = {"eps": 6 / 255, "flipped": False, "label": "cat"}


def _report(
    *,
    verdict: str = "flipped",
    held: float | None = 6 / 255,
    flipped: float | None = 7 / 255,
    curve: tuple[dict[str, Any], ...] = (HELD, FLIP),
    exhausted: bool = False,
    passed: bool = True,
    norm: str = "linf",
) -> dict[str, Any]:
    return {
        "goal": {"label": None, "target": None},
        "prediction": {"label": "cat"},
        "threat": {"norm": norm, "eps": 8 / 255},
        "verdict": verdict,
        "minimal_eps": {"held": held, "flipped": flipped},
        "curve": list(curve),
        "budget": {"exhausted": exhausted},
        "evidence": [{"check": "loss_rises", "passed": passed}],
    }


@pytest.mark.parametrize(
    ("report", "sentence"),
    [
        (_report(), "Holds up to 6/255; at 7/255 it becomes a dog."),
        (_report(flipped=6.5 / 255), "Holds up to 6/255; within 7/255 it becomes a dog."),
        (_report(held=0.0), "At 7/255 it becomes a dog."),
        (_report(held=None, flipped=0.0), "It already is a cat: nothing has to be changed."),
        (_report(verdict="held", held=8 / 255, flipped=None, curve=(HELD,)), "Holds up to 8/255."),
        (
            _report(verdict="held", held=8 / 255, flipped=12 / 255, curve=(HELD,)),
            "Holds up to 8/255; a change of 12/255 flips the answer.",
        ),
        (_report(exhausted=True), "At 7/255 it becomes a dog."),
        (_report(passed=False), "At 7/255 it becomes a dog."),
        (
            _report(verdict="inconclusive", passed=False, flipped=None, curve=(HELD,)),
            "Whether it holds up to 8/255 is not known.",
        ),
        (
            _report(verdict="inconclusive", exhausted=True, flipped=12 / 255, curve=(HELD,)),
            "Whether it holds up to 8/255 is not known; a change of 12/255 flips the answer.",
        ),
        (_report(verdict="held", held=0.0, flipped=None, curve=()), "Nothing was attacked."),
        (
            _report(curve=(HELD, {**FLIP, "label": "airplane"})),
            "Holds up to 6/255; at 7/255 it becomes an airplane.",
        ),
        (
            _report(curve=(HELD, {**FLIP, "label": "n0144"})),
            "Holds up to 6/255; at 7/255 it becomes 'n0144'.",
        ),
        (
            _report(held=6.129 / 255, flipped=6.131 / 255, curve=({**FLIP, "eps": 6.131 / 255},)),
            "Holds up to 6.12/255; at 6.14/255 it becomes a dog.",
        ),
        (
            _report(norm="l2", held=0.5, flipped=0.25 + 0.5, curve=({**FLIP, "eps": 0.75},)),
            "Holds up to 0.5; at 0.75 it becomes a dog.",
        ),
    ],
)
def test_the_sentence_says_what_was_found(report: dict[str, Any], sentence: str) -> None:
    assert verdict_sentence(report) == sentence


@pytest.mark.parametrize(
    ("report", "claims"),
    [
        (_report(), True),
        (_report(verdict="held", flipped=None), True),
        (_report(held=0.0), False),
        (_report(flipped=0.0), False),
        (_report(passed=False), False),
        (_report(exhausted=True), False),
    ],
)
def test_the_caveat_stands_exactly_where_the_sentence_claims_to_hold(
    report: dict[str, Any], claims: bool
) -> None:
    said = caveat(report)

    assert (said is not None) == claims == verdict_sentence(report).startswith("Holds")
    assert said is None or "no proof" in said
