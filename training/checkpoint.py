"""Checkpoints: one safetensors file each, replaced atomically: a kill at any moment leaves a whole one."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from training.networks import build_network
from training.networks.network import Network
from training.recipe import Recipe, recipe_from
from training.run_folder import BEST
from training.section import RecipeError


class CheckpointError(RuntimeError):
    """A checkpoint that cannot be written, read, or continued; the message says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where a run stands: with the tensors, its whole state, since all randomness is keyed by it."""

    phase: int = 0
    """Which of the recipe's phases is under way: an encoder's linear head is a second one."""
    epoch: int = 0
    """Epochs of it that are finished."""
    step: int = 0
    """Steps finished in the epoch that is under way."""
    best_epoch: int = 0
    best_accuracy: float = -1.0
    """Held-out accuracy of the best checkpoint, robust or clean as `selection.by` says."""
    history: tuple[dict[str, float], ...] = ()
    """Figures of each finished epoch."""
    totals: dict[str, float] = field(default_factory=dict)
    """Sums over the steps of the epoch that is under way."""
    seconds: float = 0.0
    """Spent so far in the epoch that is under way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What a checkpoint holds beside its tensors."""

    recipe: Recipe
    classes: tuple[str, ...]
    commit: str
    """Commit of the code that wrote it, or 'unknown'."""
    progress: Progress
    data: str
    """`LabelledImages.digest` of the training images."""
    prepared: str = ""
    """What `TrainingObjective.prepare` returned in the phase that is under way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A trained network, rebuilt from a run's folder."""

    network: Network
    recipe: Recipe
    classes: tuple[str, ...]
    commit: str
    """Commit of the code that trained it, or 'unknown'."""
    progress: Progress


def write_checkpoint(
    path: Path,
    tensors: Mapping[str, Tensor],
    *,
    recipe: Recipe,
    classes: tuple[str, ...],
    commit: str,
    progress: Progress,
    data: str,
    prepared: str = "",
) -> None:
    """Write `tensors` with a `State` beside them under a temporary name, then rename.

    Raises:
        CheckpointError: if the disk is full or the folder cannot be written; the previous checkpoint is
        untouched.
    """
    metadata = {
        "recipe": recipe.model_dump_json(),
        "classes": json.dumps(classes),
        "commit": commit,
        "progress": json.dumps(asdict(progress)),
        "data": data,
        "prepared": prepared,
    }
    content = save(
        {name: tensor.detach().contiguous().cpu() for name, tensor in tensors.items()}, metadata=metadata
    )
    replace_file(path, content)


def replace_file(path: Path, content: bytes) -> None:
    """Put `content` into `path` at one stroke: whoever reads finds all of the old or all of the new.

    Raises:
        CheckpointError: if the disk is full or the folder cannot be written; what was there is untouched.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise CheckpointError(
            f"cannot write {path}: {error.strerror or error}; free some space and continue with --resume"
        ) from error


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], State]:
    """The tensors of a checkpoint, on the CPU, and its state.

    Raises:
        CheckpointError: if it is missing, damaged, or not one of ours.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
        state = State(
            recipe=recipe_from(json.loads(metadata["recipe"]), origin=str(path)),
            classes=TypeAdapter(tuple[str, ...]).validate_python(json.loads(metadata["classes"])),
            commit=metadata["commit"],
            progress=TypeAdapter(Progress).validate_python(json.loads(metadata["progress"])),
            data=metadata["data"],
            prepared=metadata.get("prepared", ""),
        )
    except FileNotFoundError as error:
        raise CheckpointError(
            f"there is no checkpoint {path}; is this the folder of a training run?"
        ) from error
    except (SafetensorError, OSError, KeyError, json.JSONDecodeError, ValidationError, RecipeError) as error:
        raise CheckpointError(
            f"{path} is not a checkpoint of a training run, or is damaged: {error}"
        ) from error
    return tensors, state


def load_run(folder: Path, *, checkpoint: str = BEST) -> Run:
    """The network of a run in eval mode, by default the best on the held-out images.

    Raises:
        CheckpointError: if the folder has no such checkpoint, it is damaged, or its network is unknown here.
    """
    tensors, state = read_checkpoint(folder / checkpoint)
    choice = state.recipe.network
    try:
        network = build_network(choice.name, len(state.classes), choice.options)
    except RecipeError as error:
        raise CheckpointError(f"{folder / checkpoint}: its network cannot be rebuilt: {error}") from error
    load_module(network, tensors, "network.")
    return Run(
        network=network.eval(),
        recipe=state.recipe,
        classes=state.classes,
        commit=state.commit,
        progress=state.progress,
    )


def module_tensors(module: nn.Module, prefix: str) -> dict[str, Tensor]:
    """The module's parameters and buffers under `prefix`."""
    return {prefix + name: tensor for name, tensor in module.state_dict().items()}


def load_module(module: nn.Module, tensors: Mapping[str, Tensor], prefix: str) -> None:
    """Put the tensors under `prefix` back into the module.

    Raises:
        CheckpointError: if they are not the module's.
    """
    own = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    try:
        module.load_state_dict(own)
    except RuntimeError as error:
        raise CheckpointError(f"the checkpoint does not fit the recipe's network: {error}") from error


def momentum_tensors(optimiser: torch.optim.SGD) -> dict[str, Tensor]:
    """The momentum buffers, named by the place of their parameter in the optimiser."""
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    buffers = {
        index: optimiser.state[parameter].get("momentum_buffer") for index, parameter in enumerate(parameters)
    }
    return {f"momentum.{index}": buffer for index, buffer in buffers.items() if buffer is not None}


def load_momentum(optimiser: torch.optim.SGD, tensors: Mapping[str, Tensor]) -> None:
    """Put `momentum_tensors` back.

    Raises:
        CheckpointError: if they are not those of the optimiser's parameters.
    """
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    for index, parameter in enumerate(parameters):
        buffer = tensors.get(f"momentum.{index}")
        if buffer is not None:
            if buffer.shape != parameter.shape:
                raise CheckpointError(f"the checkpoint's momentum.{index} does not fit the recipe's network")
            restored = torch.empty_like(parameter)
            optimiser.state[parameter]["momentum_buffer"] = restored.copy_(buffer)
