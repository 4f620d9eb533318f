"""A run whose weights are no longer finite ends with advice that works."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from training.checkpoint import read_checkpoint
from training.phase import Phase
from training.phases import TrainingError
from training.run import train
from training.run_folder import BEST, LAST

Train = Callable[..., None]


@pytest.fixture
def training(tiny_recipe_file: Path, data_dir: Path) -> Train:
    """Trains two epochs of three steps."""

    def begin(out: Path, *overrides: str, resume: bool = False) -> None:
        train(
            str(tiny_recipe_file),
            data_dir=data_dir,
            out=out,
            resume=resume,
            device="cpu",
            overrides=overrides,
        )

    return begin


def _break_at(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The weights are NaN after the `step`-th update, counted from 0, at the rate of the recipe."""
    original = Phase.step

    def breaking(self: Phase, batch: object, number: int) -> object:
        outcome = original(self, batch, number)  # type: ignore[arg-type]
        if number == step and self.settings.learning_rate == 0.1:
            with torch.no_grad():
                next(self.objective.context.network.parameters()).fill_(math.nan)
        return outcome

    monkeypatch.setattr(Phase, "step", breaking)


def test_what_the_message_proposes_goes_on_where_everything_else_fails(
    training: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _break_at(4, monkeypatch)
    out, lower = tmp_path / "first run", "optimiser.learning_rate=0.01"
    with pytest.raises(TrainingError, match=r"another --out") as stopped:
        training(out)
    with pytest.raises(TrainingError, match=r"no longer finite.* another --out"):
        training(out, resume=True)
    with pytest.raises(TrainingError, match="another recipe"):
        training(out, lower, resume=True)
    with pytest.raises(TrainingError, match="already holds a run"):
        training(out, lower)

    proposed = re.search(r"--set ('.*?'|\S+) ", str(stopped.value))
    assert proposed
    (start,) = shlex.split(proposed[1])
    assert start == f"start={out}"
    training(tmp_path / "second", lower, start)
    progress = read_checkpoint(tmp_path / "second" / LAST)[1].progress
    assert [figures["epoch"] for figures in progress.history] == [1.0, 2.0]


def test_a_run_without_a_best_epoch_is_not_proposed_to_start_from(
    training: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _break_at(1, monkeypatch)
    with pytest.raises(TrainingError, match=r"another --out") as stopped:
        training(tmp_path / "run", "checkpoint_seconds=1e-9")
    assert (tmp_path / "run" / LAST).exists() and not (tmp_path / "run" / BEST).exists()
    assert "start=" not in str(stopped.value)


def test_a_start_that_is_broken_may_be_left_out(
    training: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training(tmp_path / "first")
    _break_at(1, monkeypatch)
    with pytest.raises(
        TrainingError, match=r"learning_rate \(0\.1\), or begin without start, and train again"
    ):
        training(tmp_path / "second", f"start={tmp_path / 'first'}")
    with pytest.raises(TrainingError, match=r"learning_rate \(0\.1\) and train again\. No checkpoint"):
        training(tmp_path / "second")
    training(tmp_path / "second", "optimiser.learning_rate=0.01")
    assert (tmp_path / "second" / BEST).exists()
