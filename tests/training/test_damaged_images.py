"""Damaged files are found before training, all of them at once."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

from cli.main import main
from export.manifest import InputSpec
from tests.serving import pictures
from training.data import images as images_module
from training.data.images import DataError, LabelledImages
from training.data.sources import open_images
from training.loop import Trainer
from training.progress import TrainingProgress

SPEC = InputSpec(height=32, width=32, resize=32)
DAMAGED = ("a/3.png", "b/0.png", "b/17.png")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two classes of forty images each; their files are damaged by `_damage`."""
    for name in ("a", "b"):
        (tmp_path / "photos" / "train" / name).mkdir(parents=True)
        for number in range(40):
            pictures.noise((32, 32)).save(tmp_path / "photos" / "train" / name / f"{number}.png")
    return tmp_path / "photos"


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every set counts as too large for the memory, and is checked in several pieces."""
    monkeypatch.setattr(images_module, "RESIDENT_BYTES", 0)
    monkeypatch.setattr(images_module, "_PIECE", 16)


def _damage(photos: Path, *names: str) -> None:
    for name in names:
        file = photos / "train" / name
        file.write_bytes(file.read_bytes()[:1000])


def _open(photos: Path) -> LabelledImages:
    return open_images(photos, "train", dataset="x", spec=SPEC)


def _train(photos: Path, recipe: Path, *options: str) -> Result:
    arguments = ["train", str(recipe), "--data-dir", str(photos), "--out", str(photos / "run")]
    arguments += ["--device", "cpu", "--set", "optimiser.batch_size=20", "--set", "data.dataset=x"]
    return CliRunner().invoke(main, [*arguments, *options], prog_name="clead")


def test_a_small_set_names_all_of_its_damaged_files(photos: Path) -> None:
    _damage(photos, *DAMAGED)
    with pytest.raises(DataError, match="3 images cannot be decoded") as caught:
        _open(photos)
    assert all(f"train/{name}: " in str(caught.value) for name in DAMAGED)


def test_a_message_lists_twenty_and_counts_the_rest(photos: Path) -> None:
    _damage(photos, *(f"a/{number}.png" for number in range(25)))
    with pytest.raises(DataError, match="25 images cannot be decoded") as caught:
        _open(photos)
    assert str(caught.value).count(".png: ") == 20
    assert "and 5 more" in str(caught.value)


@pytest.mark.usefixtures("large")
def test_a_large_set_is_checked_before_the_first_step(
    photos: Path, tiny_recipe_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[int] = []
    monkeypatch.setattr(Trainer, "train_epoch", lambda self, bars: trained.append(1))
    _damage(photos, *DAMAGED)
    result = _train(photos, tiny_recipe_file)
    assert (result.exit_code, trained) == (1, [])
    assert "3 images cannot be decoded" in result.stderr
    assert all(name in result.stderr for name in DAMAGED)


@pytest.mark.usefixtures("large")
def test_processes_check_a_part_each(photos: Path) -> None:
    _damage(photos, "a/4.png", "a/5.png")
    images, looked_at = _open(photos), []

    def track(pieces: list[torch.Tensor], stage: str) -> list[torch.Tensor]:
        looked_at.append([index for piece in pieces for index in piece.tolist()])
        return pieces

    for rank in range(2):
        with pytest.raises(DataError, match="1 images cannot be decoded"):
            images.check(slice(rank, None, 2), track)  # type: ignore[arg-type]
    assert sorted(looked_at[0] + looked_at[1]) == list(range(80))


@pytest.mark.usefixtures("large")
def test_a_file_that_is_damaged_during_a_run_can_be_put_back(
    photos: Path, tiny_recipe_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = photos / "train" / "a" / "7.png"
    whole, original = file.read_bytes(), Trainer._finish_epoch

    def damaging(self: Trainer, bars: TrainingProgress) -> None:
        original(self, bars)
        file.write_bytes(bytes(len(whole)))

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_finish_epoch", damaging)
        stopped = _train(photos, tiny_recipe_file)
    assert stopped.exit_code == 1 and "a/7.png" in stopped.stderr
    assert "put them back as they were" in stopped.stderr
    file.write_bytes(whole)
    assert _train(photos, tiny_recipe_file, "--resume").exit_code == 0
