"""A run of the study is made by one process at a time, and once."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks.methods import one_run
from benchmarks.methods.arms import Run, read_study
from tests.training.study_results import evaluation, write_result
from training.held_folder import held_folder
from training.phases import TrainingError

RUN = next(run for run in read_study(Path("runs")).runs if run.name == "pgd-at-0")


@pytest.fixture
def trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Run]:
    """What is trained from here on, instead of training it; the command line asks for `RUN`."""
    seen: list[Run] = []
    monkeypatch.setattr(one_run, "_make", lambda run, *_, **__: seen.append(run))
    arguments = [RUN.name, str(tmp_path / "data"), str(tmp_path / "work"), str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["one_run", *arguments])
    return seen


def test_a_run_that_another_process_makes_is_left_to_it(trained: list[Run], tmp_path: Path) -> None:
    with held_folder(tmp_path / "work" / RUN.name), pytest.raises(TrainingError, match="at this moment"):
        one_run.main()
    assert trained == []
    one_run.main()
    assert [run.name for run in trained] == [RUN.name]


def test_a_run_whose_result_has_appeared_meanwhile_is_not_made_again(
    trained: list[Run], tmp_path: Path
) -> None:
    write_result(tmp_path, RUN, evaluation(RUN, 0.6, 0.3))
    one_run.main()
    assert trained == []
