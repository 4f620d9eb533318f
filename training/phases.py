"""The phases of a run, as its recipe has them: one, or an encoder's and then its linear head's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch

from training.batch_norm import share_batch_norm
from training.checkpoint import load_run, read_checkpoint
from training.networks import build_network
from training.networks.compact_resnet import LEAST_WIDTH_ON_CPU
from training.networks.network import Network
from training.objectives.build import build_objective
from training.objectives.objective import Context
from training.perturbation import Perturbation
from training.phase import Phase
from training.processes import Processes
from training.recipe import Head, Optimiser, Recipe
from training.run_folder import BEST


class TrainingError(RuntimeError):
    """Training cannot go on; the message says why and what to change."""


def phase_settings(recipe: Recipe) -> tuple[Optimiser, ...]:
    """The settings of each phase, in order."""
    return (recipe.optimiser,) if recipe.head is None else (recipe.optimiser, recipe.head)


def initial_network(
    recipe: Recipe, classes: tuple[str, ...], device: torch.device, processes: Processes
) -> Network:
    """The network with which a run begins: drawn by its seed, or that of the run it starts from.

    Raises:
        RecipeError: the network is unknown or its options are.
        CheckpointError: there is no run to start from.
        TrainingError: that run has another network, or this one cannot be trained on `device`.
    """
    torch.manual_seed(recipe.seed)
    network = build_network(recipe.network.name, len(classes), recipe.network.options)
    widths = recipe.network.options.get("widths", ())
    if device.type == "cpu" and min(widths, default=LEAST_WIDTH_ON_CPU) < LEAST_WIDTH_ON_CPU:
        raise TrainingError(
            f"network.options.widths = {list(widths)}: below {LEAST_WIDTH_ON_CPU} channels torch can crash "
            f"in training on a CPU; give each stage {LEAST_WIDTH_ON_CPU} at least, or train on a GPU"
        )
    if recipe.start is not None:
        earlier = load_run(Path(recipe.start))
        if earlier.recipe.network != recipe.network:
            raise TrainingError(f"start = {recipe.start!r} has another network than this recipe")
        network.load_state_dict(earlier.network.state_dict())
    if processes.count > 1:
        share_batch_norm(network, processes)
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    if recipe.compile and device.type == "cuda":
        network.compile_backbone()
    return network


def check_earlier_runs(recipe: Recipe, data: str) -> None:
    """Whether the runs that this one begins with held out the same images.

    What they were trained on cannot say which epoch of this one is the best.

    Args:
        data: `LabelledImages.digest` of the training images.

    Raises:
        CheckpointError: there is no such run.
        TrainingError: they were trained on images that are held out here, or may have been.
    """
    named = {"start": recipe.start, "objective.surrogate": getattr(recipe.objective, "surrogate", None)}
    for field, folder in named.items():
        if folder is None:
            continue
        _, earlier = read_checkpoint(Path(folder) / BEST)
        if other := ", ".join(_other_split(recipe, earlier.recipe, same_data=earlier.data == data)):
            raise TrainingError(
                f"{field} = {folder!r} may have been trained on images that are held out here to choose the "
                f"checkpoint: it has {other}; name a run with the same"
            )


def _other_split(recipe: Recipe, earlier: Recipe, *, same_data: bool) -> Iterator[str]:
    fields: dict[str, tuple[int | None, int | None]] = {
        "seed": (earlier.seed, recipe.seed),
        "data.holdout": (earlier.data.holdout, recipe.data.holdout),
    }
    if not same_data:
        yield "other training data (classes, labels, images and their order count)"
        fields["data.limit"] = (earlier.data.limit, recipe.data.limit)
    for name, (theirs, own) in fields.items():
        if theirs != own:
            yield f"{name} = {theirs} (here {own})"


def check_batch_sizes(recipe: Recipe, training_images: int, processes: Processes) -> None:
    """Whether all phases can be trained: a head's batches are not to fail once its encoder is trained.

    Raises:
        TrainingError: a batch size does not suit the data or the processes; the message names it.
    """
    for settings in phase_settings(recipe):
        text = f"{_section(settings)}.batch_size={settings.batch_size}"
        if settings.batch_size > training_images:
            raise TrainingError(f"{text} is larger than the {training_images} training images")
        if settings.batch_size % processes.count:
            raise TrainingError(f"{text} is not divisible by the {processes.count} processes")


def build_phase(
    recipe: Recipe, index: int, network: Network, *, training_images: int, processes: Processes
) -> Phase:
    """Phase number `index`, ready to begin with `network` as it is."""
    settings = phase_settings(recipe)[index]
    device = next(network.parameters()).device
    autocast, size = device.type == "cuda", recipe.data.size
    context = Context(
        network=network,
        perturbation=Perturbation(recipe.attack, network, autocast=autocast),
        processes=processes,
        batch_shape=(settings.batch_size, 3, size, size),
        autocast=autocast,
    )
    objective = build_objective(
        settings.objective if isinstance(settings, Head) else recipe.objective, context
    )
    objective.modules.to(device)
    return Phase(
        _section(settings),
        settings,
        objective,
        network,
        # The last, smaller batch of an epoch is left out: contrast and batch norm depend on the batch size.
        steps=training_images // settings.batch_size * objective.replays,
        processes=processes,
        frozen=network.backbone if isinstance(settings, Head) else None,
        frozen_batch_norm=isinstance(settings, Head) and settings.batch_norm == "eval",
    )


def _section(settings: Optimiser) -> str:
    return "head" if isinstance(settings, Head) else "optimiser"
