"""The adversarial images of clead_static: what they are, and that a run keeps those it began with."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from export.manifest import InputSpec
from tests.training.batches import Pixels, make_batch
from tests.training.conftest import TINY
from training import adversarial_set as module
from training.checkpoint import CheckpointError, load_run, read_checkpoint
from training.data.images import LabelledImages
from training.data.sources import open_images
from training.loop import Trainer
from training.phase import Phase
from training.processes import Processes
from training.progress import TrainingProgress
from training.recipe import recipe_from
from training.run_folder import LAST

CPU = torch.device("cpu")
EPS = 8 / 255
FILE = "adversarial.safetensors"


class Killed(Exception):
    """Stands for a kill: nothing of the run catches it."""


@pytest.fixture(scope="module")
def images() -> LabelledImages:
    folder = Path(__file__).parents[1] / "data" / "cifar10"
    return open_images(folder, "train", dataset="cifar10", spec=InputSpec(height=32, width=32, resize=32))


def _trainer(
    changes: dict[str, Any], images: LabelledImages, out: Path, *, resuming: bool = False
) -> Trainer:
    out.mkdir(exist_ok=True)
    recipe = recipe_from({**TINY, "checkpoint_seconds": 1e-9, **changes}, origin="test")
    return Trainer(recipe, images, out, device=CPU, commit="test", resuming=resuming)


def _finish(trainer: Trainer) -> None:
    with TrainingProgress(3) as bars:
        trainer.run(bars)


@pytest.fixture(scope="module")
def clean_run(images: LabelledImages, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run without perturbations."""
    folder = tmp_path_factory.mktemp("clean")
    _finish(_trainer({"objective": {"name": "standard"}}, images, folder))
    return folder


@pytest.fixture
def static(clean_run: Path, tmp_path: Path) -> dict[str, Any]:
    """A recipe that starts from a copy of that run, and attacks it."""
    surrogate = str(shutil.copytree(clean_run, tmp_path / "surrogate"))
    objective = {"name": "clead_static", "projection": 16, "surrogate": surrogate, "attacks": ["fgsm"]}
    return {"start": surrogate, "objective": objective, "head": {"epochs": 1, "batch_size": 60}}


@pytest.fixture
def killed(
    static: dict[str, Any], images: LabelledImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """The folder of such a run, killed after two of its six steps."""
    steps, original = iter(range(2)), Phase.step

    def mortal(self: Phase, *args: object) -> object:
        if next(steps, None) is None:
            raise Killed
        return original(self, *args)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(Phase, "step", mortal)
        with pytest.raises(Killed):
            _finish(_trainer(static, images, tmp_path / "run"))
    return tmp_path / "run"


def _resumed(static: dict[str, Any], images: LabelledImages, out: Path) -> None:
    trainer = _trainer(static, images, out, resuming=True)
    trainer.resume()
    _finish(trainer)


def _change(static: dict[str, Any], images: LabelledImages) -> None:
    """Train the surrogate anew, with another seed."""
    folder = Path(static["start"])
    shutil.rmtree(folder)
    _finish(_trainer({"objective": {"name": "standard"}, "seed": 9}, images, folder))


@pytest.mark.parametrize("change", ["deleted", "trained anew"])
def test_a_run_goes_on_with_its_own_images_whatever_became_of_the_surrogate(
    static: dict[str, Any], killed: Path, images: LabelledImages, tmp_path: Path, change: str
) -> None:
    _finish(_trainer(static, images, tmp_path / "whole"))
    if change == "deleted":
        shutil.rmtree(static["start"])
    else:
        _change(static, images)
    _resumed(static, images, killed)
    whole, resumed = (read_checkpoint(folder / LAST)[0] for folder in (tmp_path / "whole", killed))
    assert [name for name in whole if not torch.equal(whole[name], resumed[name])] == []


def test_a_run_does_not_go_on_with_the_images_of_another_surrogate(
    static: dict[str, Any], killed: Path, images: LabelledImages
) -> None:
    (killed / FILE).unlink()
    _change(static, images)
    before = read_checkpoint(killed / LAST)[1].progress
    with pytest.raises(
        CheckpointError, match=r"other adversarial images than .*surrogate would give now, .*--out"
    ):
        _resumed(static, images, killed)
    assert read_checkpoint(killed / LAST)[1].progress == before
    assert not (killed / FILE).exists()


def test_a_run_makes_its_images_again_from_the_same_surrogate(
    static: dict[str, Any], killed: Path, images: LabelledImages
) -> None:
    made = (killed / FILE).read_bytes()
    (killed / FILE).unlink()
    _resumed(static, images, killed)
    assert (killed / FILE).read_bytes() == made


def test_images_of_an_earlier_version_of_the_attacks_are_not_taken(
    clean_run: Path, images: LabelledImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def key() -> str:
        return module._key(clean_run, images, torch.arange(40), ("fgsm",))

    now = key()
    monkeypatch.setattr(module, "_VERSION", "1")
    assert key() != now


def test_adversarial_images_are_made_once_and_again_when_their_surrogate_changes(
    clean_run: Path, images: LabelledImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    original = module._attacked

    def counting(network: Any, name: str, *args: Any) -> torch.Tensor:
        made.append(name)
        return original(network, name, *args)

    monkeypatch.setattr(module, "_attacked", counting)
    chosen = torch.arange(40)
    options = {
        "attacks": ("fgsm", "pgd", "cw"),
        "device": CPU,
        "processes": Processes(),
        "track": TrainingProgress(1).track,
    }
    file = tmp_path / "adversarial.safetensors"
    first = module.adversarial_set(clean_run, images, chosen, file=file, **options)  # type: ignore[arg-type]
    assert sorted(made) == ["cw", "fgsm", "pgd"]
    again = module.adversarial_set(clean_run, images, chosen, file=file, **options)  # type: ignore[arg-type]
    assert len(made) == 3
    assert torch.equal(first.pixels, again.pixels)
    module.adversarial_set(clean_run, images, chosen[1:], file=file, **options)  # type: ignore[arg-type]
    assert len(made) == 6
    second, others = Processes(rank=1, count=2), tmp_path / "other.safetensors"
    options["processes"] = second
    module.adversarial_set(clean_run, images, chosen, file=others, **options)  # type: ignore[arg-type]
    assert not others.exists(), "two processes that write one file get into each other's way"

    clean, labels = images.batch(chosen, CPU)
    network = load_run(clean_run).network
    adversarial = first.images(chosen, CPU)
    before = torch.nn.functional.cross_entropy(network(clean), labels)
    assert torch.nn.functional.cross_entropy(network(adversarial), labels) > before
    assert (first.images(torch.tensor([3, 1]), CPU) == adversarial[[3, 1]]).all()


def _attacked(name: str) -> tuple[Tensor, Tensor, Tensor, Pixels]:
    """Images, what the attack makes of them, the sign in which their loss rises, and the network, of which
    they have the labels: linear with two classes, so that sign is the same everywhere.
    """
    network = Pixels(classes=2)
    images = 0.25 + 0.5 * make_batch().images
    labels = network(images).argmax(1)
    found = module._attacked(network, name, images, labels, torch.arange(len(images)))  # type: ignore[arg-type]
    weight = network.fc.weight.detach()
    rising = (weight[1 - labels] - weight[labels]).sign().reshape(images.shape)
    return images, found, rising, network


def test_fgsm_makes_one_step_of_eps() -> None:
    images, found, rising, _ = _attacked("fgsm")
    torch.testing.assert_close(found - images, EPS * rising)


def test_fgsm_takes_its_step_where_that_lowers_the_loss_too() -> None:
    images = torch.full((1, 3, 32, 32), 0.5)
    found = module._attacked(_Valley(), "fgsm", images, torch.tensor([0]), torch.arange(1))  # type: ignore[arg-type]
    torch.testing.assert_close(found, images + EPS)


class _Valley(torch.nn.Module):
    """The first class of two wins by as much as the mean pixel lies away from 0.51: on the way up from 0.5 by
    less at first, but by more than before at the end of a step of eps.
    """

    def forward(self, images: Tensor) -> Tensor:
        distance = (images.mean(dim=(1, 2, 3)) - 0.51).abs()
        return torch.stack([distance, torch.zeros_like(distance)], dim=1)


def test_pgd_makes_three_steps_of_3_255_from_a_random_start() -> None:
    images, found, rising, _ = _attacked("pgd")
    moved = (found - images) * rising * 255
    # From -8 to 8, and 9 further, but no further than 8: a start of -1 or above ends there.
    assert moved.max().item() == pytest.approx(8.0, abs=1e-3)
    assert 1.0 - 1e-3 < moved.min() < 1.1
    assert (moved > 8.0 - 1e-3).double().mean().item() == pytest.approx(9 / 16, abs=0.02)


def test_cw_takes_every_image_to_the_other_class() -> None:
    images, found, _, network = _attacked("cw")
    assert (network(found).argmax(1) != network(images).argmax(1)).all()
    assert 0.0 < (found - images).abs().max() < EPS, "the least that suffices, and here that is little"
