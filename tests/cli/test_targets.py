"""What is said of a probe towards one class claims nothing about the others, which may take less."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from cli.verdict_sentence import caveat, verdict_sentence
from tests.cli.conftest import Clead

FLIP = {"eps": 37 / 255, "flipped": True, "label": "cat"}


def _report(
    *,
    verdict: str = "held",
    held: float | None = 36 / 255,
    flipped: float | None = 37 / 255,
    passed: bool = True,
    prediction: str = "ship",
) -> dict[str, Any]:
    return {
        "goal": {"label": None, "target": "cat"},
        "prediction": {"label": prediction},
        "threat": {"norm": "linf", "eps": 8 / 255},
        "verdict": verdict,
        "minimal_eps": {"held": held, "flipped": flipped},
        "curve": [FLIP] if flipped else [],
        "budget": {"exhausted": False},
        "evidence": [{"check": "loss_rises", "passed": passed}],
    }


@pytest.mark.parametrize(
    ("report", "sentence"),
    [
        (_report(), "No way to a cat was found up to 36/255; at 37/255 it becomes a cat."),
        (_report(flipped=None), "No way to a cat was found up to 36/255."),
        (_report(held=0.0, verdict="flipped"), "At 37/255 it becomes a cat."),
        (
            _report(verdict="inconclusive", passed=False),
            "Whether it can become a cat within 8/255 is not known; at 37/255 it becomes a cat.",
        ),
        (
            _report(verdict="flipped", held=None, flipped=0.0, prediction="cat"),
            "It already is a cat: nothing has to be changed.",
        ),
    ],
)
def test_the_sentence_is_about_the_class_to_be_reached(report: dict[str, Any], sentence: str) -> None:
    assert verdict_sentence(report) == sentence


@pytest.mark.parametrize("flipped", [37 / 255, None])
def test_the_caveat_says_that_another_class_may_take_less(flipped: float | None) -> None:
    said = caveat(_report(flipped=flipped))

    assert said is not None and "no proof" in said
    assert "holds" not in said and "Another class may take less" in said


def test_a_probe_towards_the_farther_class_does_not_say_that_the_answer_holds(
    clead: Clead, color_models: Path, reddish: Path
) -> None:
    plain, targeted = (
        clead("probe", reddish, "--models-dir", color_models, "--json", *asked)
        for asked in ((), ("--target", "blue"))
    )
    shown = clead("probe", reddish, "--models-dir", color_models, "--target", "blue").stdout

    # Green is nearer than blue: the answer flips long before the target is reached.
    flips = json.loads(plain.stdout)["minimal_eps"]["flipped"]
    assert flips < json.loads(targeted.stdout)["minimal_eps"]["held"]
    assert shown.startswith("No way to a blue was found up to ")
    assert "smallest eps that gives blue" in shown
    assert "Holds" not in shown and "flips the answer" not in shown


def test_the_tables_and_the_page_name_the_class_to_be_reached(
    clead: Clead, color_models: Path, colours: Path, tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    asked = ("--eps", "4/255", "--steps", "5", "--restarts", "1", "--target", "blue")
    table = clead("probe", colours, "--models-dir", color_models, *asked, "--csv", "-", "--html", page)
    lines = clead("probe", colours, "--models-dir", color_models, *asked, "--json-lines").stdout
    plain = clead("probe", colours, "--models-dir", color_models, *asked[:-2], "--csv", "-").stdout

    assert [row["target"] for row in csv.DictReader(io.StringIO(table.stdout))] == ["blue"] * 3
    assert [json.loads(line)["goal"]["target"] for line in lines.splitlines()] == ["blue"] * 3
    assert [row["target"] for row in csv.DictReader(io.StringIO(plain))] == [""] * 3
    text = " ".join(page.read_text(encoding="utf-8").split())
    assert "changes the answer" not in text and "an image within eps is taken for blue" in text
    assert "an upper bound of the true robustness against becoming blue" in text
    assert "Another class may take less change than blue." in text
