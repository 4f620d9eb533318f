"""A result of another recipe than the study has now is listed, compared with nothing, and made again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.methods import __main__ as study
from benchmarks.methods.arms import Run, read_study
from benchmarks.methods.measured import current_result, read_results, stale_results
from benchmarks.methods.page import write_page
from tests.training.study_results import evaluation, write_result

RUNS = {run.name: run for run in read_study(Path("runs")).runs}


def _change(file: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(file.read_bytes())
    change(content["recipe"])
    file.write_text(json.dumps(content), encoding="utf-8")


def _faster(recipe: dict[str, Any]) -> None:
    recipe["optimiser"]["learning_rate"] = 0.3


def _obsolete(recipe: dict[str, Any]) -> None:
    recipe["optimiser"]["friction"] = 1


@pytest.mark.parametrize("change", [_faster, _obsolete])
def test_a_result_of_another_recipe_is_stale(
    change: Callable[[dict[str, Any]], object], tmp_path: Path
) -> None:
    for name in ("pgd-at-0", "pgd-at-1"):
        write_result(tmp_path, RUNS[name], evaluation(RUNS[name], 0.6, 0.3))
    _change(tmp_path / "pgd-at-1.json", change)
    (arm,) = read_results(tmp_path, RUNS.values())
    assert [result.seed for result in arm.results] == [0]
    assert stale_results(tmp_path, RUNS.values()) == ["pgd-at-1"]


def test_a_result_from_before_a_setting_that_is_as_it_was_is_not_stale(tmp_path: Path) -> None:
    run = RUNS["pgd-at-0"]
    write_result(tmp_path, run, evaluation(run, 0.6, 0.3))
    _change(tmp_path / "pgd-at-0.json", lambda recipe: recipe["optimiser"].pop("nesterov"))
    assert current_result(tmp_path, run) is not None


def test_a_result_belongs_to_its_run_wherever_the_runs_lie(tmp_path: Path) -> None:
    run = RUNS["clead-static-0"]
    write_result(tmp_path, run, evaluation(run, 0.6, 0.0))
    recipe = json.loads((tmp_path / "clead-static-0.json").read_bytes())["recipe"]
    assert (recipe["start"], recipe["objective"]["surrogate"]) == ("standard-0", "standard-0")
    for elsewhere in read_study(Path("/elsewhere")).runs:
        assert (current_result(tmp_path, elsewhere) is not None) == (elsewhere.name == run.name)


def test_an_arm_that_the_study_has_no_more_is_stale(tmp_path: Path) -> None:
    run = RUNS["pgd-at-0"]
    write_result(tmp_path, run, evaluation(run, 0.6, 0.3))
    (tmp_path / "pgd-at-0.json").rename(tmp_path / "former-0.json")
    assert stale_results(tmp_path, RUNS.values()) == ["former-0"]


def test_the_page_lists_what_is_stale(tmp_path: Path) -> None:
    results = tmp_path / "results"
    results.mkdir()
    for seed in range(3):
        run = RUNS[f"pgd-at-{seed}"]
        write_result(results, run, evaluation(run, 0.6, 0.3))
    write_page(results, tmp_path)
    assert "## Stale" not in (tmp_path / "methods.md").read_text(encoding="utf-8")
    _change(results / "pgd-at-2.json", _faster)
    write_page(results, tmp_path)
    page = (tmp_path / "methods.md").read_text(encoding="utf-8")
    assert page.endswith("the\ncommand above makes them again: pgd-at-2\n")
    assert "pgd-at (2)" in page, "two seeds are left, which are not compared"


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Runs that are made from here on, instead of making them; the results lie in `tmp_path`."""
    names: list[str] = []

    def one(run: Run, *_: object) -> bool:
        names.append(run.name)
        return False

    monkeypatch.setattr(study, "RESULTS", tmp_path)
    monkeypatch.setattr(study, "_one", one)
    return names


def test_a_run_whose_result_is_stale_is_made_again(made: list[str], tmp_path: Path) -> None:
    for name in ("pgd-at-0", "clead-static-0"):
        write_result(tmp_path, RUNS[name], evaluation(RUNS[name], 0.6, 0.3))
    _change(tmp_path / "pgd-at-0.json", _faster)
    assert study._make(tmp_path / "data", tmp_path / "work", jobs=1) == 0
    assert set(made) == set(RUNS) - {"clead-static-0"}


def test_a_surrogate_whose_result_alone_is_here_is_made_again_for_those_that_need_it(
    made: list[str], tmp_path: Path
) -> None:
    for run in RUNS.values():
        if run.name != "n-fgsm-1":
            write_result(tmp_path, run, evaluation(run, 0.6, 0.3))
    assert study._make(tmp_path / "data", tmp_path / "work", jobs=1) == 0
    assert made == ["standard-1", "n-fgsm-1"]
