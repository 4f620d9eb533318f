"""A run of the study is made by one process at a time, and once."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks.methods import one_run
from benchmarks.methods.arms import Run, read_study
from tests.training.study_results import evaluation, write_result
from training.checkpoint import Progress, module_tensors, write_checkpoint
from training.held_folder import held_folder
from training.networks import build_network
from training.phases import TrainingError
from training.run_folder import LAST

RUNS = {run.name: run for run in read_study(Path("runs")).runs}
RUN = RUNS["pgd-at-0"]


@pytest.fixture
def trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Run]:
    """What is trained from here on, instead of training it; the command line asks for `RUN`."""
    seen: list[Run] = []
    monkeypatch.setattr(one_run, "_make", lambda run, *_, **__: seen.append(run))
    _ask_for(RUN, tmp_path, monkeypatch)
    return seen


def _ask_for(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = [run.name, str(folder / "data"), str(folder / "work"), str(folder)]
    monkeypatch.setattr(sys, "argv", ["one_run", *arguments])


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


@pytest.mark.parametrize("missing", [0, 1])
def test_a_surrogate_with_a_result_is_made_again_where_its_training_is_not_finished(
    trained: list[Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: int
) -> None:
    surrogate = RUNS["standard-0"]
    write_result(tmp_path, surrogate, evaluation(surrogate, 0.6, 0.0))
    _ask_for(surrogate, tmp_path, monkeypatch)
    one_run.main()
    assert trained == [surrogate], "nothing but its result is here"
    epochs = surrogate.recipe.optimiser.epochs - missing
    choice = surrogate.recipe.network
    folder = tmp_path / "work" / surrogate.name
    folder.mkdir(parents=True, exist_ok=True)
    write_checkpoint(
        folder / LAST,
        module_tensors(build_network(choice.name, 10, choice.options), "network."),
        recipe=surrogate.recipe,
        classes=[str(label) for label in range(10)],
        commit="unknown",
        progress=Progress(epoch=epochs, history=({"loss": 1.0},) * epochs),
        data="",
    )
    one_run.main()
    assert trained == [surrogate] * (1 + missing)
