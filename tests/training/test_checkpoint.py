from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
import torch

from training.checkpoint import (
    CheckpointError,
    Progress,
    load_run,
    module_tensors,
    read_checkpoint,
    write_checkpoint,
)
from training.networks import build_network
from training.recipe import Recipe

CLASSES = tuple("abcdefghij")


def _write(path: Path, recipe: Recipe, seed: int = 0) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    network = build_network(recipe.network.name, 10, recipe.network.options)
    tensors = module_tensors(network, "network.")
    progress = Progress(epoch=1, best_robust=0.25, history=({"epoch": 1.0},))
    write_checkpoint(path, tensors, recipe=recipe, classes=CLASSES, commit="abc", progress=progress)
    return tensors


def test_a_checkpoint_comes_back_whole(tmp_path: Path, tiny_recipe: Recipe) -> None:
    written = _write(tmp_path / "last.safetensors", tiny_recipe)
    tensors, state = read_checkpoint(tmp_path / "last.safetensors")
    assert tensors.keys() == written.keys()
    assert all(torch.equal(tensors[name], written[name]) for name in written)
    assert state["recipe"] == tiny_recipe
    assert state["classes"] == CLASSES
    assert state["progress"] == Progress(epoch=1, best_robust=0.25, history=({"epoch": 1.0},))


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
    write_checkpoint(path, {}, recipe=tiny_recipe, classes=CLASSES, commit="", progress=Progress())
    with pytest.raises(CheckpointError, match="does not fit"):
        load_run(tmp_path)
