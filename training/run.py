"""Train a recipe: from the recipe and a data folder to a run's folder with checkpoints."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from contextlib import nullcontext
from pathlib import Path

import torch

from export.manifest import InputSpec
from training.data.images import LabelledImages
from training.data.remarks import remarks
from training.data.sources import check_classes, open_images
from training.held_folder import held_folder
from training.loop import Trainer
from training.memory import out_of_memory_as
from training.phases import TrainingError, phase_settings
from training.processes import Processes, own_device, started_processes
from training.progress import TrainingProgress
from training.recipe import Recipe, find_recipe, read_recipe
from training.run_folder import LAST

_HERE = Path(__file__).parent
_CODE = (":(top)*.py", ":(top)*.toml")
"""Of git: the files that decide how a run goes."""


def train(
    recipe: str,
    *,
    data_dir: Path,
    out: Path | None = None,
    resume: bool = False,
    device: str = "auto",
    overrides: Iterable[str] = (),
) -> Path:
    """Train a recipe and return the run's folder.

    Args:
        recipe: a TOML file or a shipped recipe's name.
        data_dir: what `training.data.sources.open_images` opens; torchvision downloads its sets into it.
        out: the run's folder, `runs/<recipe's name>` without it.
        resume: continue the run in `out` from its last checkpoint (start it, if there is none yet).
        device: auto, cpu, cuda, or cuda:N.
        overrides: 'section.field=value' on top of the recipe.

    Raises:
        RecipeError, DataError, CheckpointError, TrainingError, ProcessError: each says what to change.
    """
    settings = read_recipe(find_recipe(recipe), overrides)
    folder = out or Path("runs") / settings.name
    chosen = own_device(choose_device(device))
    with (
        started_processes(chosen) as processes,
        held_folder(folder) if processes.rank == 0 else nullcontext(),
    ):
        _train(settings, data_dir, folder, resume=resume, device=chosen, processes=processes)
    return folder


def _train(
    settings: Recipe,
    data_dir: Path,
    folder: Path,
    *,
    resume: bool,
    device: torch.device,
    processes: Processes,
) -> None:
    going_on = (folder / LAST).exists()
    if going_on and not resume:
        raise TrainingError(f"{folder} already holds a run; continue it with --resume, or give another --out")
    too_large = (
        "the data or the network does not fit; lower data.limit or data.size, or give another --device"
    )
    with out_of_memory_as(TrainingError, too_large):
        # One of them downloads what is absent.
        with processes.first_alone():
            images = training_images(settings, data_dir)
        trainer = Trainer(
            settings,
            images,
            folder,
            device=device,
            commit=current_commit(),
            processes=processes,
            resuming=going_on,
        )
        if going_on:
            trainer.resume()
    epochs = sum(phase.epochs for phase in phase_settings(settings))
    with TrainingProgress(epochs, shown=processes.rank == 0) as bars:
        for remark in remarks(images, unlearnt=trainer.unlearnt, holdout=settings.data.holdout):
            bars.say(remark)
        if not going_on:
            # A damaged file is not to stop the run in a later epoch.
            images.check(slice(processes.rank, None, processes.count), bars.track)
        trainer.run(bars)


def input_spec(recipe: Recipe) -> InputSpec:
    """How photographs become the input of this recipe's network.

    Photographs for large inputs are scaled so that the centre crop keeps seven eighths of the shorter side,
    as is usual for ImageNet (256 to 224); at 64 pixels and below the whole shorter side is kept.
    """
    size = recipe.data.size
    return InputSpec(height=size, width=size, resize=size if size <= 64 else size * 8 // 7)


def training_images(recipe: Recipe, data_dir: Path) -> LabelledImages:
    """The training split of the recipe's data.

    Raises:
        DataError: it cannot be opened, or fewer than two classes have images.
    """
    images = open_images(data_dir, "train", dataset=recipe.data.dataset, spec=input_spec(recipe))
    if recipe.data.limit is None:
        return images
    limited = images.spread(recipe.data.limit)
    check_classes(limited, what=f"with data.limit={recipe.data.limit}, all images")
    return limited


def choose_device(name: str) -> torch.device:
    """CUDA where there is one, for 'auto'.

    Raises:
        TrainingError: if the name is not a device of this machine.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise TrainingError(f"device {name!r} cannot be used here: {error}; use auto or cpu") from error
    return device


def current_commit() -> str:
    """The commit of this code, with '+changes' where it differs from it; 'unknown' outside a git checkout."""
    try:
        # A page or a result that was made anew trains nothing.
        changed = _git("status", "--porcelain", "--untracked-files=no", "--", *_CODE)
        return _git("rev-parse", "HEAD") + ("+changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(*arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=_HERE, check=True, capture_output=True, text=True
    ).stdout.strip()
