from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from training.checkpoint import (
    CheckpointError,
    Progress,
    load_momentum,
    load_run,
    module_tensors,
    read_checkpoint,
    write_checkpoint,
)
from training.networks import build_network
from training.recipe import Recipe

CLASSES = tuple("abcdefghij")
PROGRESS = Progress(
    epoch=1, best_accuracy=0.25, history=({"epoch": 1.0},), totals={"loss": 0.1 + 0.2}, seconds=2.5
)


def _write(path: Path, recipe: Recipe, seed: int = 0) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    network = build_network(recipe.network.name, 10, recipe.network.options)
    tensors = module_tensors(network, "network.")
    write_checkpoint(
        path, tensors, recipe=recipe, classes=CLASSES, commit="abc", progress=PROGRESS, data="0f"
    )
    return tensors


def test_a_checkpoint_comes_back_whole(tmp_path: Path, tiny_recipe: Recipe) -> None:
    written = _write(tmp_path / "last.safetensors", tiny_recipe)
    tensors, state = read_checkpoint(tmp_path / "last.safetensors")
    assert tensors.keys() == written.keys()
    assert all(torch.equal(tensors[name], written[name]) for name in written)
    assert (state.recipe, state.classes, state.commit, state.data) == (tiny_recipe, CLASSES, "abc", "0f")
    assert state.progress == PROGRESS


def test_a_run_comes_back_in_eval_mode(tmp_path: Path, tiny_recipe: Recipe) -> None:
    written = _write(tmp_path / "best.safetensors", tiny_recipe)
    run = load_run(tmp_path)
    assert not run.network.training
    assert torch.equal(run.network.fc.weight, written["network.fc.weight"])
    assert (run.classes, run.commit, run.recipe) == (CLASSES, "abc", tiny_recipe)


def test_a_full_disk_leaves_the_old_checkpoint(
    tmp_path: Path, tiny_recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "best.safetensors"
    _write(path, tiny_recipe)
    before = path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(
        CheckpointError, match="No space left on device; free some space and continue with --resume"
    ):
        _write(path, tiny_recipe, seed=1)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["best.safetensors"]


def test_missing_damaged_and_foreign_checkpoints_are_refused(tmp_path: Path, tiny_recipe: Recipe) -> None:
    path = tmp_path / "best.safetensors"
    with pytest.raises(CheckpointError, match="there is no checkpoint"):
        load_run(tmp_path)
    _write(path, tiny_recipe)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="damaged"):
        load_run(tmp_path)
    write_checkpoint(path, {}, recipe=tiny_recipe, classes=CLASSES, commit="", progress=Progress(), data="")
    with pytest.raises(CheckpointError, match="does not fit"):
        load_run(tmp_path)


def _edit(path: Path, **changes: str | None) -> None:
    """Change metadata of a checkpoint; None takes an entry out."""
    with safe_open(path, framework="pt") as file:
        metadata = {**file.metadata(), **changes}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    save_file(tensors, path, metadata={name: text for name, text in metadata.items() if text is not None})


@pytest.mark.parametrize(
    "changes",
    [
        {"progress": "[]"},
        {"progress": '{"epoch": "many"}'},
        {"classes": "5"},
        {"recipe": "7"},
        {"recipe": "{"},
        {"commit": None},
        {"data": None},
    ],
)
def test_a_checkpoint_with_other_metadata_is_refused(
    tmp_path: Path, tiny_recipe: Recipe, changes: dict[str, str | None]
) -> None:
    path = tmp_path / "best.safetensors"
    _write(path, tiny_recipe)
    _edit(path, **changes)
    with pytest.raises(CheckpointError, match="is not a checkpoint of a training run, or is damaged"):
        load_run(tmp_path)


def test_a_network_that_is_unknown_here_is_an_error_of_the_checkpoint(
    tmp_path: Path, tiny_recipe: Recipe
) -> None:
    path = tmp_path / "best.safetensors"
    _write(path, tiny_recipe)
    network = tiny_recipe.network.model_copy(update={"name": "vgg"})
    _edit(path, recipe=tiny_recipe.model_copy(update={"network": network}).model_dump_json())
    with pytest.raises(CheckpointError, match=r"best\.safetensors: .*'vgg'; accepted are: compact_resnet"):
        load_run(tmp_path)


def test_momentum_of_another_network_is_refused() -> None:
    optimiser = torch.optim.SGD([torch.zeros(2, 3)], lr=0.1, momentum=0.9)
    with pytest.raises(CheckpointError, match=r"momentum\.0 does not fit"):
        load_momentum(optimiser, {"momentum.0": torch.zeros(3, 2)})
