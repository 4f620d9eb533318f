"""Runs of every kind: an encoder and its head, averages, weight perturbation, other starts; all resumable."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

from cli.main import main
from export.manifest import InputSpec
from tests.training.conftest import TINY
from training.checkpoint import load_run, read_checkpoint
from training.data.images import LabelledImages
from training.data.sources import open_images
from training.loop import Trainer
from training.phase import Phase
from training.phases import TrainingError
from training.progress import TrainingProgress
from training.recipe import recipe_from
from training.run_folder import BEST, LAST

CPU = torch.device("cpu")
HEAD = {"epochs": 1, "batch_size": 60}


class Killed(Exception):
    """Stands for a kill: nothing of the run catches it."""


@pytest.fixture(scope="module")
def images() -> LabelledImages:
    folder = Path(__file__).parents[1] / "data" / "cifar10"
    return open_images(folder, "train", dataset="cifar10", spec=InputSpec(height=32, width=32, resize=32))


@pytest.fixture(scope="module")
def clean_run(images: LabelledImages, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run without perturbations, for others to start from."""
    folder = tmp_path_factory.mktemp("clean")
    _finish(_trainer({"objective": {"name": "standard"}}, images, folder))
    return folder


def _trainer(changes: dict[str, Any], images: LabelledImages, out: Path) -> Trainer:
    out.mkdir(exist_ok=True)
    recipe = recipe_from({**TINY, "checkpoint_seconds": 1e-9, **changes}, origin="test")
    return Trainer(recipe, images, out, device=CPU, commit="test")


def _finish(trainer: Trainer) -> None:
    with TrainingProgress(3) as bars:
        trainer.run(bars)


def _tensors(path: Path) -> dict[str, torch.Tensor]:
    return read_checkpoint(path)[0]


def _kinds(clean_run: Path) -> dict[str, dict[str, Any]]:
    static = {"name": "clead_static", "projection": 16, "surrogate": str(clean_run)}
    return {
        "rsupcon": {"objective": {"name": "rsupcon", "projection": 16}, "head": HEAD},
        "simultaneous": {"objective": {"name": "clead_simultaneous", "projection": 16, "replays": 2}},
        "static": {
            "start": str(clean_run),
            "objective": static,
            "head": {**HEAD, "batch_norm": "train", "objective": {"name": "pgd_at"}},
        },
        "ascl": {
            "objective": {"name": "ascl", "projection": 16},
            "optimiser": {
                "epochs": 2,
                "batch_size": 60,
                "average": 0.9,
                "weight_perturbation": 0.01,
                "weight_perturbation_from": 0.4,
                "schedule": "step",
                "warmup": 0.0,
            },
        },
        "trades": {"objective": {"name": "trades"}, "attack": {"steps": 1, "start": "near"}},
        "mart": {
            "objective": {"name": "mart"},
            "attack": {"name": "mix", "mix": ["cw", "fgsm_rs"], "steps": 1},
        },
    }


@pytest.mark.parametrize("kind", ["rsupcon", "simultaneous", "static", "ascl", "trades", "mart"])
def test_a_run_of_any_kind_that_is_killed_ends_as_if_it_had_not_been(
    kind: str, clean_run: Path, images: LabelledImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = _kinds(clean_run)[kind]
    _finish(_trainer(changes, images, tmp_path / "whole"))
    # Within an epoch, at its end, and within the head's epoch where there is one (of three steps each).
    for kill_at in (5, 3) if "head" in changes else (4, 1):
        original, steps = Phase.step, 0

        def mortal(self: Phase, *args: object) -> object:
            nonlocal steps
            if steps == kill_at:  # noqa: B023 (called within this turn)
                raise Killed
            steps += 1
            return original(self, *args)  # type: ignore[arg-type]  # noqa: B023

        trainer = _trainer(changes, images, tmp_path / "killed")
        if (tmp_path / "killed" / LAST).exists():
            trainer.resume()
        with monkeypatch.context() as patch:
            patch.setattr(Phase, "step", mortal)
            with pytest.raises(Killed):
                _finish(trainer)
    resumed = _trainer(changes, images, tmp_path / "killed")
    resumed.resume()
    _finish(resumed)
    for name in (LAST, BEST):
        whole, killed = _tensors(tmp_path / "whole" / name), _tensors(tmp_path / "killed" / name)
        assert whole.keys() == killed.keys()
        assert [key for key in whole if not torch.equal(whole[key], killed[key])] == []


def test_a_head_leaves_the_encoder_as_it_is(images: LabelledImages, tmp_path: Path) -> None:
    trainer = _trainer({"objective": {"name": "rsupcon", "projection": 16}, "head": HEAD}, images, tmp_path)
    trainer.recipe = trainer.recipe.model_copy()
    seen: dict[str, torch.Tensor] = {}
    original = trainer._next_phase

    def watching() -> None:
        seen.update({name: value.clone() for name, value in trainer.network.state_dict().items()})
        original()

    trainer._next_phase = watching  # type: ignore[method-assign]
    _finish(trainer)
    after = trainer.network.state_dict()
    changed = {name for name in seen if not torch.equal(seen[name], after[name])}
    assert changed == {"fc.weight", "fc.bias"}
    history = trainer.progress.history
    assert [("held_out_robust" in figures, figures["epoch"]) for figures in history] == [
        (False, 1.0),
        (False, 2.0),
        (True, 3.0),
    ]
    assert trainer.progress.best_epoch == 3


def test_a_head_s_batches_are_checked_before_its_encoder_is_trained(
    images: LabelledImages, tmp_path: Path
) -> None:
    changes = {"objective": {"name": "rsupcon", "projection": 16}, "head": {**HEAD, "batch_size": 512}}
    with pytest.raises(TrainingError, match=r"head\.batch_size=512 is larger than the 180 training images"):
        _trainer(changes, images, tmp_path)


def test_a_head_may_be_trained_with_weight_perturbation(images: LabelledImages, tmp_path: Path) -> None:
    head = {**HEAD, "weight_perturbation": 0.01}
    trainer = _trainer({"objective": {"name": "rsupcon", "projection": 16}, "head": head}, images, tmp_path)
    _finish(trainer)
    assert trainer.progress.best_epoch == 3


def test_a_head_may_let_batch_norm_follow(images: LabelledImages, tmp_path: Path) -> None:
    changes = {"objective": {"name": "rsupcon", "projection": 16}, "head": {**HEAD, "batch_norm": "train"}}
    trainer = _trainer(changes, images, tmp_path)
    _finish(trainer)
    moved = trainer.network.state_dict()["backbone.1.num_batches_tracked"].item()
    # Two epochs of the encoder and one of the head, of three steps each.
    assert moved == 9


def test_the_average_is_what_is_selected_and_saved(images: LabelledImages, tmp_path: Path) -> None:
    optimiser = {"epochs": 1, "batch_size": 60, "average": 0.99}
    trainer = _trainer({"optimiser": optimiser}, images, tmp_path)
    _finish(trainer)
    last, best = _tensors(tmp_path / LAST), _tensors(tmp_path / BEST)
    for name, value in best.items():
        assert torch.equal(value, last[name.replace("network.", "average.", 1)])
    assert not torch.equal(best["network.fc.weight"], last["network.fc.weight"])


ROBUST = {"selection": {"by": "robust"}}
MEASURED = [(0.2, 0.1), (0.3, 0.2), (0.5, 0.1), (0.4, 0.2)]
NOTHING_STANDS = [(0.2, 0.0), (0.6, 0.0), (0.5, 0.0), (0.6, 0.0)]


@pytest.mark.parametrize(
    ("objective", "changes", "measured", "epoch"),
    [
        ("standard", ROBUST, MEASURED, 2),
        ("standard", {"selection": {"by": "clean"}}, MEASURED, 3),
        ("standard", {}, MEASURED, 3),
        ("standard", {"selection": {"steps": 2}}, MEASURED, 3),
        ("pgd_at", {}, MEASURED, 2),
        ("pgd_at", {}, NOTHING_STANDS, 2),
        # One answer to everything is right on 3 of the 20 held-out images.
        ("pgd_at", {}, [*NOTHING_STANDS[:2], (0.15, 0.15), (0.9, 0.0)], 4),
        ("pgd_at", {}, [(0.9, 0.15), (0.2, 0.2), (0.5, 0.15), (0.3, 0.2)], 2),
    ],
)
def test_the_recipe_says_which_accuracy_chooses(
    objective: str,
    changes: dict[str, Any],
    measured: list[tuple[float, float]],
    epoch: int,
    images: LabelledImages,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    figures = iter(measured)

    def accuracy(*_: object) -> dict[str, float]:
        clean, robust = next(figures)
        return {"held_out_clean": clean, "held_out_robust": robust}

    monkeypatch.setattr("training.loop.held_out_accuracy", accuracy)
    epochs = {"selection": {}, "optimiser": {"epochs": 4, "batch_size": 60}, "attack": {"steps": 1}}
    trainer = _trainer({**epochs, "objective": {"name": objective}, **changes}, images, tmp_path)
    _finish(trainer)
    assert trainer.progress.best_epoch == epoch
    assert load_run(tmp_path).progress.epoch == epoch


def test_a_run_starts_from_another_s_weights(clean_run: Path, images: LabelledImages, tmp_path: Path) -> None:
    trainer = _trainer({"start": str(clean_run)}, images, tmp_path)
    earlier = load_run(clean_run).network.state_dict()
    assert all(torch.equal(value, earlier[name]) for name, value in trainer.network.state_dict().items())


def test_a_run_does_not_start_from_another_network(
    clean_run: Path, images: LabelledImages, tmp_path: Path
) -> None:
    network = {"name": "compact_resnet", "options": {"widths": [8, 8], "blocks": [1, 1]}}
    with pytest.raises(TrainingError, match="has another network than this recipe"):
        _trainer({"start": str(clean_run), "network": network}, images, tmp_path)


def test_a_network_whose_kernels_crash_a_cpu_is_not_trained_on_one(
    images: LabelledImages, tmp_path: Path
) -> None:
    network = {"name": "compact_resnet", "options": {"widths": [16, 7], "blocks": [1, 1]}}
    with pytest.raises(TrainingError, match=r"network\.options\.widths = \[16, 7\]: below 8 .* on a CPU"):
        _trainer({"network": network}, images, tmp_path)


@pytest.mark.parametrize("field", ["start", "objective.surrogate"])
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"seed": 4}, r"seed = 3 \(here 4\)"),
        ({"data": {"dataset": "cifar10", "holdout": 40}}, r"data.holdout = 20 \(here 40\)"),
        ({"data": {"dataset": "cifar10", "holdout": 20, "limit": 190}}, r"data.limit = None \(here 190\)"),
    ],
)
def test_a_run_does_not_begin_with_one_that_may_have_seen_what_it_holds_out(
    field: str,
    changes: dict[str, Any],
    said: str,
    clean_run: Path,
    images: LabelledImages,
    tmp_path: Path,
) -> None:
    begins: dict[str, Any] = {"start": str(clean_run)}
    if field == "objective.surrogate":
        begins = {"objective": {"name": "clead_static", "surrogate": str(clean_run)}, "head": HEAD}
    limit = changes.get("data", {}).get("limit", len(images))
    with pytest.raises(TrainingError, match=rf"^{field} = .* held out here .* it has .*{said}"):
        _trainer({**begins, **changes}, images.spread(limit), tmp_path / "run")
    assert _trainer(begins, images, tmp_path / "run").progress.epoch == 0


def test_the_command_says_the_folder_alone_on_its_output(
    clean_run: Path, tiny_recipe_file: Path, data_dir: Path, tmp_path: Path
) -> None:
    changes = [f'objective={{name="clead_static",surrogate="{clean_run}"}}', "optimiser.epochs=1"]
    changes += ["head.epochs=1", "head.batch_size=60"]
    options = [option for change in changes for option in ("--set", change)]
    arguments = ["train", str(tiny_recipe_file), "--data-dir", str(data_dir), "--out", str(tmp_path / "run")]
    result = CliRunner().invoke(main, [*arguments, "--device", "cpu", *options], prog_name="clead")
    assert result.exit_code == 0, result.stderr
    assert result.stdout == f"{tmp_path / 'run'}\n"
