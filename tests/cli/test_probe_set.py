"""`clead probe` over folders, on a model whose smallest eps is known in closed form."""

from __future__ import annotations

import csv
import io
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cli.probe_set.tables import COLUMNS
from engines.engine import EngineError
from serving.probing.job import ProbeJob
from tests.cli.conftest import Clead

ROOT = Path(__file__).resolve().parents[2]
EPS = ("--eps", "4/255,8/255,15/255", "--steps", "5", "--restarts", "1")


def _rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_the_table_for_people_has_a_line_for_each_image(
    clead: Clead, color_models: Path, colours: Path
) -> None:
    result = clead("probe", colours, "--models-dir", color_models, *EPS)

    assert result.exit_code == 0, result.output
    assert [line.split()[0] for line in result.stdout.splitlines() if ".png" in line] == [
        "a.png",
        "b.png",
        "c.png",
    ]
    assert f"Files in {colours}\n" in result.stdout
    assert "66.7% flipped, 33.3% attacked in vain (no proof), 0.0% undecided" in result.stdout
    assert "the model's own answer" in result.stdout


def test_the_curve_is_the_share_of_brackets(clead: Clead, color_models: Path, colours: Path) -> None:
    result = clead("probe", colours, "--models-dir", color_models, *EPS, "--json")
    document = json.loads(result.stdout)
    curve = {round(point["eps"] * 255, 6): point for point in document["curve"]}

    # The three are held at 4, 8 and 15 of 255, and flipped at some eps up to 8, up to 15, and never.
    assert curve[0]["held"] == curve[4]["held"] == 1.0
    assert curve[8]["held"] == pytest.approx(2 / 3)
    assert curve[8]["flipped"] == pytest.approx(1 / 3)
    assert curve[15] == pytest.approx({"eps": 15 / 255, "flipped": 2 / 3, "held": 1 / 3, "undecided": 0.0})
    assert [Path(report["file"]).name for report in document["reports"]] == ["a.png", "b.png", "c.png"]


def test_a_search_finds_each_smallest_eps_within_two_percent(
    clead: Clead, color_models: Path, colours: Path
) -> None:
    result = clead("probe", colours, "--models-dir", color_models, "--csv", "-")

    rows = _rows(result.stdout)
    assert [float(row["flipped"]) * 255 for row in rows] == pytest.approx([5, 10, 20], rel=0.02)
    assert all(float(row["held"]) < float(row["flipped"]) <= float(row["flipped_8bit"]) for row in rows)


def test_the_csv_names_everything_and_the_failures_too(
    clead: Clead, color_models: Path, colours: Path, tmp_path: Path
) -> None:
    (colours / "broken.png").write_bytes((colours / "a.png").read_bytes()[:50])
    (colours / "empty.jpg").touch()
    (colours / "old.bmp").write_bytes(b"BM")
    (colours / "gone.png").symlink_to("nowhere")
    (colours / "notes.txt").write_text("not an image", encoding="utf-8")
    (colours / ".hidden.png").touch()
    table = tmp_path / "table.csv"

    result = clead("probe", colours, "--models-dir", color_models, *EPS, "--csv", table)
    rows = {Path(row["file"]).name: row for row in _rows(table.read_text(encoding="utf-8"))}

    assert result.exit_code == 1
    assert tuple(rows["a.png"]) == COLUMNS
    assert [rows[f"{name}.png"]["verdict"] for name in "abc"] == ["flipped", "flipped", "held"]
    assert rows["c.png"]["flipped"] == "" and float(rows["c.png"]["held"]) == pytest.approx(15 / 255)
    assert rows["a.png"]["norm"] == "linf" and rows["a.png"]["exhausted"] == "false"
    reasons = {name: row["error"] for name, row in rows.items() if row["error"]}
    assert reasons.keys() == {"broken.png", "empty.jpg", "old.bmp", "gone.png"}
    assert "truncated" in reasons["broken.png"] and "empty" in reasons["empty.jpg"]
    assert "PNG, JPEG or WebP" in reasons["old.bmp"] and "No such file" in reasons["gone.png"]
    assert "1 other file skipped" in result.stdout


def test_json_lines_have_a_line_for_each_file(clead: Clead, color_models: Path, colours: Path) -> None:
    (colours / "b.png").write_bytes(b"nothing of the kind")

    result = clead("probe", colours, "--models-dir", color_models, *EPS, "--json-lines")
    lines = [json.loads(line) for line in result.stdout.splitlines()]

    assert result.exit_code == 1
    assert [Path(line["file"]).name for line in lines] == ["a.png", "b.png", "c.png"]
    assert [line.get("verdict") for line in lines] == ["flipped", None, "held"]
    assert lines[1]["error"]["code"] == "unsupported_image"
    assert "images" not in lines[0]


def test_an_image_has_the_same_report_in_a_set_as_alone(
    clead: Clead, color_models: Path, colours: Path
) -> None:
    def comparable(report: dict[str, Any]) -> dict[str, Any]:
        return {name: report[name] for name in ("prediction", "verdict", "minimal_eps", "curve", "evidence")}

    alone = clead("probe", colours / "b.png", "--models-dir", color_models, *EPS, "--json")
    together = clead("probe", colours, "--models-dir", color_models, *EPS, "--json")

    assert comparable(json.loads(together.stdout)["reports"][1]) == comparable(json.loads(alone.stdout))


def test_the_order_on_the_command_line_means_nothing(clead: Clead, color_models: Path, colours: Path) -> None:
    def figures(*paths: Path) -> list[dict[str, str]]:
        table = clead("probe", *paths, "--models-dir", color_models, *EPS, "--csv", "-").stdout
        return [{name: cell for name, cell in row.items() if name != "seconds"} for row in _rows(table)]

    a, b, c = (colours / f"{name}.png" for name in "abc")
    assert figures(c, a, b, a) == figures(colours) == figures(b, colours)


def test_an_empty_folder_is_an_error(clead: Clead, color_models: Path, tmp_path: Path) -> None:
    folder = tmp_path / "empty"
    (folder / "sub").mkdir(parents=True)
    (folder / "notes.txt").touch()

    result = clead("probe", folder, "--models-dir", color_models, "--html", tmp_path / "page.html")

    assert result.exit_code == 1
    assert "there is no image in here (1 other files)" in result.stderr
    assert not (tmp_path / "page.html").exists()


def test_nothing_but_bad_files_still_gives_every_output(
    clead: Clead, color_models: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "bad"
    folder.mkdir()
    (folder / "bad.png").write_bytes(b"bad")
    page = tmp_path / "page.html"

    result = clead("probe", folder, "--models-dir", color_models, "--html", page, "--json")

    assert result.exit_code == 1
    document = json.loads(result.stdout)
    assert document["reports"] == document["curve"] == []
    assert [failure["error"]["code"] for failure in document["failed"]] == ["unsupported_image"]
    assert "No image was probed" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--csv", "nowhere/table.csv"], "--csv nowhere/table.csv: its folder"),
        (["--html", "colours/a.png"], "--html colours/a.png: this is what is read"),
        (["--html", "same", "--csv", "same"], "another output"),
        (["--csv", "-", "--json"], "--csv - and --json"),
        (["--json", "--json-lines"], "--json and --json-lines"),
        (["--adversarial", "x.png"], "one image"),
        (["--label", "mauve"], "mauve"),
        (["--eps", "many"], "eps"),
        (["--labels", "labels.csv", "--target", "red"], "--labels"),
        (["--labels", "labels.csv", "--csv", "labels.csv"], "--csv labels.csv"),
        (["--html", "-"], "--html -"),
    ],
)
def test_what_cannot_work_is_refused_before_any_work(
    clead: Clead,
    color_models: Path,
    colours: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    named: str,
) -> None:
    monkeypatch.chdir(colours.parent)
    Path("labels.csv").write_text("a.png,red\n", encoding="utf-8")
    before = (colours / "a.png").read_bytes()

    result = clead("probe", "colours", "--models-dir", color_models, *options)

    assert result.exit_code == 2
    assert named in result.stderr
    assert result.stdout == ""
    assert (colours / "a.png").read_bytes() == before


def test_a_parameter_that_no_image_accepts_is_a_wrong_command_line(
    clead: Clead, color_models: Path, colours: Path
) -> None:
    result = clead("probe", colours, "--models-dir", color_models, "--norm", "l2", "--eps", "900")

    assert result.exit_code == 2
    assert "no two images of this size are further apart" in result.stderr


def test_a_target_is_what_flips(clead: Clead, color_models: Path, colours: Path) -> None:
    Image.new("RGB", (8, 8), (60, 100, 70)).save(colours / "green.png")

    result = clead("probe", colours, "--models-dir", color_models, *EPS, "--target", "green", "--json")
    document = json.loads(result.stdout)

    assert "the model answers green" in document["about"]
    assert document["reports"][3]["minimal_eps"]["flipped"] == 0.0


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_writes_what_there_is(
    color_models: Path, colours: Path, tmp_path: Path, number: signal.Signals
) -> None:
    for copy in range(400):
        shutil.copy(colours / "a.png", colours / f"copy-{copy}.png")
    table, page = tmp_path / "table.csv", tmp_path / "page.html"
    arguments = ["probe", str(colours), "--models-dir", str(color_models), "--json-lines"]
    arguments += ["--csv", str(table), "--html", str(page)]

    with subprocess.Popen(
        [sys.executable, "-c", f"from cli.main import main; main({arguments!r})"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stdout is not None and running.stdout.readline()
        running.send_signal(number)
        more, errors = running.communicate(timeout=60)

    rows = _rows(table.read_text(encoding="utf-8"))
    assert running.returncode == 130, errors
    assert len(rows) == 1 + len(more.splitlines()) < 403
    assert f"{403 - len(rows)} of 403 images not reached" in errors
    assert "Traceback" not in errors
    assert "Stopped early" in page.read_text(encoding="utf-8")


def test_a_table_that_cannot_be_written_in_the_end_does_not_cost_the_page(
    clead: Clead, color_models: Path, colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cli.probe_set import command

    def full(file: Path, text: str, real: Any = command.replace_text) -> None:
        if file.suffix == ".csv":
            raise OSError(28, "No space left on device")
        real(file, text)

    monkeypatch.setattr(command, "replace_text", full)
    table, page = tmp_path / "table.csv", tmp_path / "page.html"

    result = clead("probe", colours, "--models-dir", color_models, *EPS, "--csv", table, "--html", page)

    assert result.exit_code == 1
    assert "table.csv was not written: No space left" in result.stderr
    assert page.exists() and "c.png" in result.stdout


@pytest.mark.parametrize(
    ("error", "left"),
    [(EngineError("the device is gone"), ["a.png", "c.png", "b.png"]), (KeyError("mistake"), ["a.png"])],
    ids=["the engine fails for one image", "a mistake in the code ends the run"],
)
def test_what_goes_wrong_in_the_middle_does_not_cost_what_was_found(
    clead: Clead,
    color_models: Path,
    colours: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    left: list[str],
) -> None:
    real, calls = ProbeJob.run, iter(range(3))

    def failing(job: ProbeJob, **options: Any) -> dict[str, Any]:
        if next(calls) == 1:
            raise error
        return real(job, **options)

    monkeypatch.setattr(ProbeJob, "run", failing)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    table = tmp_path / "table.csv"

    result = clead("probe", colours, "--models-dir", color_models, *EPS, "--csv", table)

    rows = _rows(table.read_text(encoding="utf-8"))
    assert result.exit_code == 1
    assert [Path(row["file"]).name for row in rows] == left
    assert [row["error"] for row in rows if row["error"]] == (
        ["the device is gone"] if isinstance(error, EngineError) else []
    )
