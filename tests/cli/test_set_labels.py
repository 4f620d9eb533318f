"""Where the true classes of a set come from, and what they change."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import Clead

EPS = ("--eps", "4/255,8/255,15/255", "--steps", "5", "--restarts", "1")


@pytest.fixture
def classes(colours: Path, tmp_path: Path) -> Path:
    """red/a.png, red/b.png, and in green/ a picture that the model calls red."""
    folder = tmp_path / "classes"
    for name, label in (("a.png", "red"), ("b.png", "red"), ("c.png", "green")):
        (folder / label).mkdir(parents=True, exist_ok=True)
        shutil.copy(colours / name, folder / label / name)
    return folder


def _probe(clead: Clead, models: Path, *arguments: str | Path) -> dict[str, list[dict[str, object]]]:
    result = clead("probe", *arguments, "--models-dir", models, *EPS, "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert isinstance(document, dict)
    return document


def test_subfolders_named_after_classes_are_labels(clead: Clead, color_models: Path, classes: Path) -> None:
    document = _probe(clead, color_models, classes)
    wrong, *right = document["reports"]

    assert "labels from the names of the folders" in document["about"]
    assert (wrong["label"], wrong["verdict"]) == ("green", "flipped")
    assert wrong["minimal_eps"] == {"held": None, "flipped": 0.0}
    assert [report["label"] for report in right] == ["red", "red"]
    assert document["curve"][0] == pytest.approx({"eps": 0, "flipped": 1 / 3, "held": 2 / 3, "undecided": 0})


def test_accuracy_is_told_where_labels_are_known(clead: Clead, color_models: Path, classes: Path) -> None:
    result = clead("probe", classes, "--models-dir", color_models, *EPS)

    assert "Clean accuracy: 2 of 3 (66.7%)" in result.stdout


def test_no_labels_makes_it_about_the_answers(clead: Clead, color_models: Path, classes: Path) -> None:
    document = _probe(clead, color_models, classes, "--no-labels")

    assert "right or wrong" in document["about"]
    assert [report["label"] for report in document["reports"]] == [None, None, None]
    assert document["curve"][0]["flipped"] == 0.0


def test_an_image_outside_of_the_class_folders_takes_the_labels_away(
    clead: Clead, color_models: Path, classes: Path, colours: Path
) -> None:
    shutil.copy(colours / "a.png", classes / "loose.png")
    (classes / "mauve").mkdir()
    shutil.copy(colours / "a.png", classes / "mauve" / "m.png")

    document = _probe(clead, color_models, classes)

    assert "no labels: some folders are named after classes" in document["about"]
    assert "in mauve, outside of them" in document["about"]


@pytest.mark.parametrize(
    "lines",
    [
        "file,label\na.png,red\nb.png,0\nc.png,green\nelsewhere.png,blue\n",
        "\ufeffcolours/c.png,1,a note\ncolours/a.png,red\ncolours/b.png,red\n",
    ],
    ids=["below the folder, with a header and numbers", "as beside the CSV file"],
)
def test_a_csv_file_gives_labels(
    clead: Clead, color_models: Path, colours: Path, tmp_path: Path, lines: str
) -> None:
    table = tmp_path / "labels.csv"
    table.write_text(lines, encoding="utf-8")

    document = _probe(clead, color_models, colours, "--labels", table)

    assert [report["label"] for report in document["reports"]] == ["red", "red", "green"]
    assert [report["verdict"] for report in document["reports"]] == ["flipped"] * 3


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("a.png,red\n", "no label for 2 of 3 images"),
        ("a.png,red\na.png,blue\n", "line 2: a.png has another label"),
        ("a.png,mauve\n", "line 1: label is 'mauve'"),
        ("a.png\n", "line 1: expected file,label"),
        ('a.png,"red\n', "not a CSV file"),
        ("\udcff,red\n", "not a CSV file in UTF-8"),
    ],
)
def test_labels_that_do_not_fit_are_refused(
    clead: Clead, color_models: Path, colours: Path, tmp_path: Path, lines: str, said: str
) -> None:
    table = tmp_path / "labels.csv"
    table.write_text(lines, encoding="utf-8", errors="surrogateescape")

    result = clead("probe", colours, "--models-dir", color_models, "--labels", table)

    assert result.exit_code == 1
    assert said in result.stderr
    assert "Traceback" not in result.stderr


def test_a_line_that_fits_two_images_is_refused(
    clead: Clead, color_models: Path, colours: Path, tmp_path: Path
) -> None:
    shutil.copytree(colours, tmp_path / "more")
    table = tmp_path / "labels.csv"
    table.write_text("a.png,red\nb.png,red\nc.png,red\n", encoding="utf-8")

    result = clead("probe", colours, tmp_path / "more", "--models-dir", color_models, "--labels", table)

    assert result.exit_code == 1
    assert "a.png may be" in result.stderr


def test_one_label_for_all(clead: Clead, color_models: Path, classes: Path) -> None:
    document = _probe(clead, color_models, classes, "--label", "red")

    assert [report["label"] for report in document["reports"]] == ["red"] * 3
    assert "as --label says" in document["about"]


def test_two_ways_to_name_one_file_must_not_contradict(
    clead: Clead, color_models: Path, classes: Path, tmp_path: Path
) -> None:
    image = next(classes.rglob("*.png"))
    table = image.parent / "labels.csv"
    table.write_text(f"{image.name},red\n./{image.name},blue\n", encoding="utf-8")

    result = clead("probe", image, "--models-dir", color_models, "--labels", table)

    assert result.exit_code != 0
    assert "line 2" in result.stderr and "another label" in result.stderr


@pytest.mark.parametrize("target", ["red", "blue"])
def test_an_image_that_is_to_become_a_class_is_not_called_wrong(
    clead: Clead, color_models: Path, colours: Path, tmp_path: Path, target: str
) -> None:
    page = tmp_path / "page.html"
    options = ("--label", "green", "--target", target, "--html", page)
    assert clead("probe", colours, "--models-dir", color_models, *options).exit_code == 0
    assert "wrong: it is" not in page.read_text(encoding="utf-8")


def test_labels_of_a_file_go_with_the_search_for_every_class(
    clead: Clead, color_models: Path, classes: Path, tmp_path: Path
) -> None:
    file = tmp_path / "labels.csv"
    file.write_text("red/a.png,red\nred/b.png,red\ngreen/c.png,green\n", encoding="utf-8")

    document = _probe(clead, color_models, classes, "--labels", file, "--target", "every")

    wrong, *right = document["reports"]
    assert wrong["classes"] is None and wrong["verdict"] == "flipped"
    assert all(report["label"] == "red" and report["classes"] for report in right)
