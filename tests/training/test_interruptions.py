"""What stops a run, and what it takes to go on: other data, no memory, the time that has passed."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from rich.console import Console

from cli.main import main
from export.manifest import InputSpec
from training import loop
from training.checkpoint import read_checkpoint
from training.data.images import LabelledImages
from training.data.sources import open_images
from training.loop import Trainer
from training.objectives.clead import Clead
from training.phase import Phase
from training.phases import TrainingError
from training.progress import TrainingProgress
from training.recipe import Recipe
from training.run_folder import LAST


class Killed(Exception):
    """Stands for a kill: nothing of the run catches it."""


@pytest.fixture
def images(data_dir: Path) -> LabelledImages:
    return open_images(data_dir, "train", dataset="cifar10", spec=InputSpec(height=32, width=32, resize=32))


@pytest.fixture
def every_step(tiny_recipe: Recipe) -> Recipe:
    """A checkpoint after every step."""
    return tiny_recipe.model_copy(update={"checkpoint_seconds": 1e-9})


def _trainer(recipe: Recipe, images: LabelledImages, out: Path, **options: object) -> Trainer:
    return Trainer(recipe, images, out, device=torch.device("cpu"), commit="test", **options)  # type: ignore[arg-type]


def _finish(trainer: Trainer, console: Console | None = None) -> None:
    with TrainingProgress(trainer.recipe.optimiser.epochs, console) as bars:
        trainer.run(bars)


def _failing_at(step: int, error: Exception) -> Callable[..., object]:
    """`Clead.loss`, but raising at the `step`-th call, counted from 1."""
    original, calls = Clead.loss, 0

    def call(self: Clead, *args: object) -> object:
        nonlocal calls
        calls += 1
        if calls == step:
            raise error
        return original(self, *args)  # type: ignore[arg-type]

    return call


def _stopped(
    recipe: Recipe, images: LabelledImages, out: Path, monkeypatch: pytest.MonkeyPatch, **options: object
) -> None:
    """A run that was killed in its second step."""
    with monkeypatch.context() as patch:
        patch.setattr(Clead, "loss", _failing_at(2, Killed()))
        with pytest.raises(Killed):
            _finish(_trainer(recipe, images, out, **options))


def _changed(images: LabelledImages, change: str) -> LabelledImages:
    pixels, labels = images.pixels(torch.arange(len(images))).numpy().copy(), images.labels.numpy().copy()
    classes, order = list(images.classes), np.arange(len(images))
    if change == "images":
        pixels[57] = 255 - pixels[57]
    elif change == "labels":
        labels[57] = (labels[57] + 1) % 10
    elif change == "classes":
        classes[0] = "aeroplane"
    elif change == "order":
        order = order[::-1]
    return LabelledImages(pixels[order], labels[order], classes, lambda image: np.asarray(image), 32)


@pytest.mark.parametrize("change", ["images", "labels", "classes", "order"])
def test_other_data_cannot_continue_a_run(
    every_step: Recipe,
    images: LabelledImages,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: str,
) -> None:
    _stopped(every_step, images, tmp_path, monkeypatch)
    with pytest.raises(TrainingError, match=r"trained on other data .* or another --out"):
        _trainer(every_step, _changed(images, change), tmp_path).resume()
    _trainer(every_step, _changed(images, "nothing"), tmp_path).resume()


def test_the_seconds_of_an_epoch_count_from_before_it_was_interrupted(
    every_step: Recipe, images: LabelledImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0

    def clock() -> float:
        return now

    original = Phase.step

    def slow(self: Phase, *args: object) -> object:
        nonlocal now
        now += 10.0
        return original(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(Phase, "step", slow)
    _stopped(every_step, images, tmp_path, monkeypatch, clock=clock)
    # Down for an hour; the step that was killed is done again.
    now = 3600.0
    resumed = _trainer(every_step, images, tmp_path, clock=clock)
    resumed.resume()
    _finish(resumed)
    # Three steps an epoch.
    assert [figures["seconds"] for figures in resumed.progress.history] == [30.0, 30.0]


def test_the_terms_of_the_loss_are_shown_and_kept(
    tiny_recipe: Recipe, images: LabelledImages, tmp_path: Path
) -> None:
    trainer, screen = _trainer(tiny_recipe, images, tmp_path), io.StringIO()
    _finish(trainer, Console(file=screen, width=200))
    history = read_checkpoint(tmp_path / LAST)[1].progress.history
    for figures in history:
        terms = figures["loss_cross_entropy"] + 0.5 * figures["loss_contrast"]
        assert terms == pytest.approx(figures["loss"], rel=1e-5)
        assert figures["loss_contrast"] > 0
    first = history[0]
    assert (
        f"loss {first['loss']:.3f} (cross_entropy {first['loss_cross_entropy']:.3f}, "
        f"contrast {first['loss_contrast']:.3f})"
    ) in screen.getvalue()


OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    MemoryError(),
]


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=["cuda", "cpu", "cublas", "python"])
def test_a_step_without_memory_names_the_batch_size_and_keeps_the_checkpoint(
    every_step: Recipe,
    images: LabelledImages,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    monkeypatch.setattr(Clead, "loss", _failing_at(2, error))
    with pytest.raises(TrainingError, match=r"out of memory: lower optimiser\.batch_size \(60\)"):
        _finish(_trainer(every_step, images, tmp_path))
    assert read_checkpoint(tmp_path / LAST)[1].progress.step == 1


def test_torch_s_own_error_is_recognised(
    every_step: Recipe, images: LabelledImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def greedy(*_: object, **__: object) -> None:
        torch.empty(2**60)

    monkeypatch.setattr(Clead, "loss", greedy)
    with pytest.raises(TrainingError, match=r"out of memory: lower optimiser\.batch_size"):
        _finish(_trainer(every_step, images, tmp_path))


def test_other_errors_of_a_step_stay_what_they_are(
    every_step: Recipe, images: LabelledImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Clead, "loss", _failing_at(1, RuntimeError("shapes do not match")))
    with pytest.raises(RuntimeError, match="shapes do not match") as caught:
        _finish(_trainer(every_step, images, tmp_path))
    assert not isinstance(caught.value, TrainingError)


def test_a_selection_without_memory_goes_on_with_smaller_batches(
    every_step: Recipe, images: LabelledImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_memory(*_: object) -> None:
        raise OUT_OF_MEMORY[0]

    with monkeypatch.context() as patch:
        patch.setattr(loop, "held_out_accuracy", no_memory)
        with pytest.raises(TrainingError, match=r"selection\.batch_size \(250\) and continue with --resume"):
            _finish(_trainer(every_step, images, tmp_path))
    selection = every_step.selection.model_copy(update={"batch_size": 10})
    resumed = _trainer(every_step.model_copy(update={"selection": selection}), images, tmp_path)
    resumed.resume()
    assert (resumed.progress.epoch, resumed.progress.step) == (0, 3)
    _finish(resumed)
    assert len(resumed.progress.history) == 2


@pytest.mark.parametrize("place", ["training.run.open_images", "training.objectives.clead.Clead.loss"])
def test_no_memory_is_one_message_on_the_command_line(
    tiny_recipe_file: Path, data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    def no_memory(*_: object, **__: object) -> None:
        raise OUT_OF_MEMORY[0]

    monkeypatch.setattr(place, no_memory)
    arguments = ["train", str(tiny_recipe_file), "--data-dir", str(data_dir), "--out", str(tmp_path / "run")]
    result = CliRunner().invoke(main, [*arguments, "--device", "cpu"], prog_name="clead")
    assert result.exit_code == 1
    assert "out of memory: " in result.stderr and "lower " in result.stderr


@pytest.mark.parametrize(("deterministic", "benchmark"), [(False, True), (True, False)])
def test_training_takes_cudnn_s_deterministic_algorithms_and_puts_the_settings_back(
    tiny_recipe: Recipe,
    images: LabelledImages,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    deterministic: bool,
    benchmark: bool,
) -> None:
    cudnn, seen = torch.backends.cudnn, set()
    monkeypatch.setattr(cudnn, "deterministic", deterministic)
    monkeypatch.setattr(cudnn, "benchmark", benchmark)
    original = Clead.loss

    def watching(self: Clead, *args: object) -> object:
        seen.add((cudnn.deterministic, cudnn.benchmark))
        return original(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(Clead, "loss", watching)
    _finish(_trainer(tiny_recipe, images, tmp_path))
    assert seen == {(True, False)}
    assert (cudnn.deterministic, cudnn.benchmark) == (deterministic, benchmark)
