"""The same weights, however often a run is interrupted."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from export.manifest import InputSpec
from training.checkpoint import CheckpointError, load_run, read_checkpoint
from training.data.images import LabelledImages
from training.data.sources import open_images
from training.loop import Trainer
from training.objectives.clead import Clead
from training.phase import Phase
from training.phases import TrainingError
from training.progress import TrainingProgress
from training.recipe import Recipe
from training.run import train
from training.run_folder import BEST, LAST
from training.selection import rank

CLEAD = "from cli.main import main; main()"
Start = Callable[[Path], Trainer]


class Killed(Exception):
    """Stands for a kill: nothing of the run catches it."""


@pytest.fixture
def images(data_dir: Path) -> LabelledImages:
    return open_images(data_dir, "train", dataset="cifar10", spec=InputSpec(height=32, width=32, resize=32))


@pytest.fixture
def start(tiny_recipe: Recipe, images: LabelledImages) -> Start:
    # A checkpoint after every step.
    recipe = tiny_recipe.model_copy(update={"checkpoint_seconds": 1e-9})

    def trainer(out: Path) -> Trainer:
        out.mkdir(exist_ok=True)
        return Trainer(recipe, images, out, device=torch.device("cpu"), commit="test")

    return trainer


def _finish(trainer: Trainer) -> None:
    with TrainingProgress(trainer.recipe.optimiser.epochs) as bars:
        trainer.run(bars)


def _same(first: Path, second: Path) -> bool:
    a, b = read_checkpoint(first)[0], read_checkpoint(second)[0]
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def _history(out: Path) -> list[dict[str, float]]:
    """What a run measured, but for how long it took."""
    history = read_checkpoint(out / LAST)[1].progress.history
    return [{name: value for name, value in figures.items() if name != "seconds"} for figures in history]


def test_a_seed_gives_the_same_run_and_another_seed_another(start: Start, tmp_path: Path) -> None:
    for name in ("a", "b"):
        _finish(start(tmp_path / name))
    assert _same(tmp_path / "a" / LAST, tmp_path / "b" / LAST)
    assert _same(tmp_path / "a" / BEST, tmp_path / "b" / BEST)
    other = start(tmp_path / "c")
    other.recipe = other.recipe.model_copy(update={"seed": 4})
    _finish(other)
    assert not _same(tmp_path / "a" / LAST, tmp_path / "c" / LAST)


@pytest.mark.parametrize("kill_at", [1, 2, 3, 5])
def test_a_run_killed_at_any_step_ends_as_if_it_had_not_been(
    start: Start, tmp_path: Path, kill_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    _finish(start(tmp_path / "whole"))
    steps = 0
    original = Clead.loss

    def mortal(self: Clead, *args: object) -> object:
        nonlocal steps
        steps += 1
        if steps > kill_at:
            raise Killed
        return original(self, *args)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(Clead, "loss", mortal)
        with pytest.raises(Killed):
            _finish(start(tmp_path / "killed"))
    resumed = start(tmp_path / "killed")
    resumed.resume()
    # Three steps an epoch: the run goes on with the step that was killed.
    assert (resumed.progress.epoch, resumed.progress.step) == divmod(kill_at, 3)
    _finish(resumed)
    assert _same(tmp_path / "whole" / LAST, tmp_path / "killed" / LAST)
    assert _same(tmp_path / "whole" / BEST, tmp_path / "killed" / BEST)
    assert _history(tmp_path / "whole") == _history(tmp_path / "killed")


def test_kill_9_and_resume_from_the_command_line(
    tiny_recipe_file: Path, data_dir: Path, tmp_path: Path
) -> None:
    def command(out: Path) -> list[str]:
        options = [
            "--data-dir",
            str(data_dir),
            "--device",
            "cpu",
            "--set",
            "checkpoint_seconds=1e-9",
            "--resume",
        ]
        return [sys.executable, "-c", CLEAD, "train", str(tiny_recipe_file), "--out", str(out), *options]

    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(command(tmp_path / "whole"), check=True, env=environment, capture_output=True)
    killed = subprocess.Popen(
        command(tmp_path / "killed"), env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    checkpoint = tmp_path / "killed" / LAST
    deadline = time.monotonic() + 120
    while not checkpoint.exists() and killed.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert checkpoint.exists()
    subprocess.run(command(tmp_path / "killed"), check=True, env=environment, capture_output=True)
    assert _same(tmp_path / "whole" / LAST, checkpoint)
    assert _same(tmp_path / "whole" / BEST, tmp_path / "killed" / BEST)


def test_the_best_checkpoint_is_that_of_the_epoch_that_ranks_first(start: Start, tmp_path: Path) -> None:
    trainer = start(tmp_path / "run")
    _finish(trainer)
    best = max(trainer.progress.history, key=lambda figures: rank(figures, by="robust", constant=3 / 20))
    run = load_run(tmp_path / "run")
    assert run.progress.best_epoch == best["epoch"]
    assert run.progress.best_accuracy == trainer.progress.best_accuracy == best["held_out_robust"]


def test_a_run_learns(tiny_recipe: Recipe, images: LabelledImages, tmp_path: Path) -> None:
    optimiser = tiny_recipe.optimiser.model_copy(update={"epochs": 8, "batch_size": 30})
    recipe = tiny_recipe.model_copy(update={"optimiser": optimiser})
    trainer = Trainer(recipe, images, tmp_path, device=torch.device("cpu"), commit="test")
    _finish(trainer)
    first, last = trainer.progress.history[0], trainer.progress.history[-1]
    assert last["loss"] < first["loss"]
    assert last["train_clean"] > first["train_clean"]


def test_another_recipe_cannot_continue_a_run(start: Start, tmp_path: Path) -> None:
    _finish(start(tmp_path / "run"))
    other = start(tmp_path / "run")
    other.recipe = other.recipe.model_copy(update={"seed": 4})
    with pytest.raises(TrainingError, match="another recipe"):
        other.resume()


def test_a_run_is_not_overwritten(tiny_recipe_file: Path, data_dir: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    train(str(tiny_recipe_file), data_dir=data_dir, out=out, device="cpu", overrides=["optimiser.epochs=1"])
    with pytest.raises(TrainingError, match="already holds a run; continue it with --resume"):
        train(str(tiny_recipe_file), data_dir=data_dir, out=out, device="cpu")


def test_resuming_what_is_no_run_says_so(start: Start, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="there is no checkpoint"):
        start(tmp_path / "run").resume()


def test_a_loss_that_explodes_stops_the_run(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Clead.loss

    def exploding(self: Clead, *args: object) -> object:
        outcome = original(self, *args)  # type: ignore[arg-type]
        return replace(outcome, loss=outcome.loss * math.inf)

    monkeypatch.setattr(Clead, "loss", exploding)
    with pytest.raises(
        TrainingError, match=r"finite in epoch 1 .*optimiser.learning_rate.*\. No checkpoint was written yet"
    ):
        _finish(start(tmp_path / "run"))
    assert not (tmp_path / "run" / LAST).exists()


def test_weights_that_are_no_longer_finite_are_not_saved(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, steps = Phase.step, 0

    def breaking(self: Phase, *args: object) -> object:
        nonlocal steps
        steps += 1
        outcome = original(self, *args)  # type: ignore[arg-type]
        if steps == 2:
            # The loss is that of the weights before.
            with torch.no_grad():
                next(self.objective.context.network.parameters()).fill_(math.nan)
        return outcome

    monkeypatch.setattr(Phase, "step", breaking)
    with pytest.raises(
        TrainingError,
        match=r"weights are no longer finite; lower optimiser.learning_rate .*another --out: --resume",
    ):
        _finish(start(tmp_path / "run"))
    assert read_checkpoint(tmp_path / "run" / LAST)[1].progress.step == 1


def test_a_batch_larger_than_the_data_is_refused(
    tiny_recipe: Recipe, images: LabelledImages, tmp_path: Path
) -> None:
    optimiser = tiny_recipe.optimiser.model_copy(update={"batch_size": 1000})
    with pytest.raises(TrainingError, match="batch_size=1000 is larger than the 180"):
        Trainer(
            tiny_recipe.model_copy(update={"optimiser": optimiser}),
            images,
            tmp_path,
            device=torch.device("cpu"),
            commit="test",
        )


def test_an_unknown_device_is_refused(tiny_recipe_file: Path, data_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="device 'tpu'"):
        train(str(tiny_recipe_file), data_dir=data_dir, out=tmp_path / "run", device="tpu")
