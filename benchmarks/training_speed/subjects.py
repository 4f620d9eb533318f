"""An epoch of adversarial training, here and in the reference loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.training_speed import reference
from benchmarks.training_speed.reference import BATCH_SIZE, EPS, NOISE, STEP, STEPS, Pictures, Reference
from benchmarks.training_speed.stages import DATA, Stage
from training.checkpoint import Progress
from training.cuda_settings import deterministic
from training.data.images import LabelledImages
from training.loop import Trainer
from training.networks import build_network
from training.objectives import pgd_at
from training.perturbation import Perturbation
from training.phase import Phase
from training.progress import TrainingProgress
from training.recipe import Recipe, recipe_from

HELD_OUT = 10
"""The fewest that a recipe accepts: an epoch here is its updates, without held-out accuracy."""
_OURS = {
    "n-fgsm": {"name": "noise_fgsm", "eps": EPS, "noise": NOISE},
    "pgd-10": {"name": "pgd", "eps": EPS, "step_size": STEP, "steps": STEPS},
}
_THEIRS = {"n-fgsm": reference.n_fgsm, "pgd-10": reference.pgd}
ATTACKS = tuple(_OURS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loop:
    """One epoch of a training loop, whose call repeats it, and the functions that are its stages."""

    epoch: Callable[[], None]
    stages: Sequence[Stage]


def ours(
    network: str, attack: str, images: LabelledImages, folder: Path, device: torch.device, *, compiled: bool
) -> Loop:
    """`Trainer`'s epoch over `images`, less the few that are held out."""
    trainer = Trainer(_recipe(network, attack, compiled), images, folder, device=device, commit="unknown")

    def epoch() -> None:
        trainer.progress = Progress()
        with deterministic(), TrainingProgress(1, shown=False) as bars:
            trainer.train_epoch(bars)

    stages = (
        Stage(Phase, "step", "update"),
        Stage(Perturbation, "lose", "attack"),
        Stage(pgd_at, "crop_flip", DATA),
    )
    return Loop(epoch=epoch, stages=stages)


def theirs(network: str, attack: str, images: LabelledImages, device: torch.device, *, workers: int) -> Loop:
    """The reference loop over as many of `images` as ours trains on."""
    torch.manual_seed(0)
    module = build_network(network, len(images.classes)).to(device)
    pictures = Pictures(images, len(images) - HELD_OUT)
    loop = Reference(module, _THEIRS[attack](module), pictures, device, workers=workers)
    stages = (Stage(Reference, "update", "update"), Stage(Reference, "adversarial", "attack"))
    return Loop(epoch=loop.epoch, stages=stages)


def _recipe(network: str, attack: str, compiled: bool) -> Recipe:
    return recipe_from(
        {
            "name": "training-speed",
            "data": {"holdout": HELD_OUT},
            "network": {"name": network},
            "objective": {"name": "pgd_at"},
            "attack": _OURS[attack],
            "optimiser": {"epochs": 1, "batch_size": BATCH_SIZE},
            "checkpoint_seconds": 1e9,
            "compile": compiled,
        },
        origin="benchmarks.training_speed",
    )
