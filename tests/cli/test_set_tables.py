"""The tables of a set: CSV safe to open in a spreadsheet, with everything that was asked for; short names."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path, PurePath
from typing import Any

import pytest

from cli.probe_set.result import Probed, SetResult
from cli.probe_set.tables import common_folder, csv_table
from tests.cli.conftest import Clead

EPS = ("--eps", "4/255,8/255,15/255", "--steps", "5", "--restarts", "1")


def _rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_no_cell_begins_as_a_formula_does(
    clead: Clead, color_models: Path, colours: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["=1+1.png", "@sum.png"]
    for name in names:
        shutil.copy(colours / "a.png", colours / name)
    monkeypatch.chdir(colours)

    result = clead("probe", *names, *EPS, "--models-dir", color_models, "--csv", "-")
    rows = _rows(result.stdout)

    assert [row["file"] for row in rows] == ["./=1+1.png", "./@sum.png"]
    assert all(Path(row["file"]).exists() for row in rows)


@pytest.mark.parametrize("text", ["=cmd", "+1", "-1", "@a", "\tx", "\rx"])
def test_a_class_that_looks_like_a_formula_is_quoted(text: str) -> None:
    report: dict[str, Any] = {
        "goal": {"label": None, "target": text},
        "prediction": {"label": text, "probability": 0.5},
        "verdict": "held",
        "threat": {"norm": "linf", "eps": 0.1},
        "minimal_eps": {"held": 0.1, "flipped": None},
        "minimal_eps_8bit": None,
        "budget": {
            "exhausted": False,
            "gradient_evaluations": 1,
            "forward_evaluations": 1,
            "seconds": 0.1,
        },
        "evidence": [],
        "classes": [{"label": text, "flipped": -0.5}],
        "certificate": {"label": text, "radius": 0.25},
    }
    probed = Probed(name="a.png", label=text, report=report)

    (row,) = _rows(csv_table(SetResult(probed=(probed,), failures=(), not_reached=0, skipped=0)))

    assert row["label"] == row["target"] == row["prediction"] == row["certified_label"] == f"'{text}"
    assert (row["probability"], row["certified_radius"]) == ("0.5", "0.25")
    assert json.loads(row["classes"]) == {text: -0.5}


def test_classes_and_certificates_are_in_the_table(clead: Clead, color_models: Path, colours: Path) -> None:
    asked = ("--target", "every", "--certify", "--certify-samples", "50", "--sigma", "0.01")
    rows = _rows(clead("probe", colours, "--models-dir", color_models, *EPS, *asked, "--csv", "-").stdout)

    classes = [json.loads(row["classes"]) for row in rows]
    assert [set(one) for one in classes] == [{"green", "blue"}] * 3
    assert [one["green"] * 255 for one in classes[:2]] == pytest.approx([5, 10], rel=0.05)
    assert [row["certified_label"] for row in rows] == ["red"] * 3
    assert all(float(row["certified_radius"]) > 0 for row in rows)


def test_at_eps_0_nothing_is_said_to_have_been_attacked(
    clead: Clead, color_models: Path, colours: Path
) -> None:
    result = clead("probe", colours, "--models-dir", color_models, "--eps", "0")

    assert "100.0% not flipped, as nothing was changed" in result.stdout
    assert "in vain" not in result.stdout


@pytest.mark.parametrize(
    ("names", "folder"),
    [
        (["/a/b/1.png", "/a/b/2.png"], "/a/b"),
        (["/a/b/1.png", "/a/c/d/2.png"], "/a"),
        (["b/1.png", "b/2.png"], "b"),
        (["1.png", "b/2.png"], "."),
        (["/a/1.png", "a/2.png"], "."),
    ],
)
def test_the_folder_that_files_share(names: list[str], folder: str) -> None:
    assert common_folder(names) == PurePath(folder)
