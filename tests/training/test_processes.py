"""Training in two processes is training in one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import distributed, nn

from tests.training.phase_steps import OBJECTIVES, trained
from training.batch_norm import SharedBatchNorm2d
from training.checkpoint import read_checkpoint
from training.phases import TrainingError, check_batch_sizes
from training.processes import ProcessError, Processes, own_device
from training.recipe import Recipe
from training.run_folder import BEST, LAST

ROOT = Path(__file__).parents[2]
CLEAD = "from cli.main import main; main()"
MORTAL = """
import os, signal
from training.phase import Phase

original, left = Phase.step, iter(range(11))

def mortal(*arguments):
    if next(left, None) is None:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*arguments)

Phase.step = mortal
"""
"""Each process dies where it would begin its twelfth step."""


def _torchrun(*arguments: str) -> None:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    subprocess.run([*launcher, *arguments], cwd=ROOT, env=environment, check=True, capture_output=True)


@pytest.fixture(scope="module")
def in_two_processes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with what two processes trained."""
    folder = tmp_path_factory.mktemp("processes")
    _torchrun(str(ROOT / "tests" / "training" / "phase_steps.py"), str(folder))
    return folder


@pytest.mark.parametrize("name", OBJECTIVES)
def test_two_processes_end_where_one_does(in_two_processes: Path, name: str) -> None:
    together = load_file(in_two_processes / f"{name}-2.safetensors")
    alone = trained(OBJECTIVES[name], Processes())
    assert together.keys() == alone.keys()
    for key, value in alone.items():
        torch.testing.assert_close(together[key], value, rtol=1e-9, atol=1e-12)


def test_the_first_process_goes_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    monkeypatch.setattr(distributed, "barrier", lambda: seen.append("barrier"))
    for rank in range(2):
        with Processes(rank=rank, count=2).first_alone():
            seen.append(f"process {rank}")
    assert seen == ["process 0", "barrier", "barrier", "process 1"]
    # It fails alone: the launcher ends the others, which wait.
    with pytest.raises(OSError, match="no network"), Processes(count=2).first_alone():
        raise OSError("no network")
    assert len(seen) == 4


def test_gathering_leaves_the_gradients_of_others_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "all_gather", lambda parts, own: [part.copy_(own) for part in parts])
    monkeypatch.setattr(distributed, "all_reduce", lambda total: total.mul_(2))
    own, other = torch.ones(2, requires_grad=True), torch.ones(4, requires_grad=True)
    tripled = other * 3
    # The sum hands one and the same gradient to both of its terms.
    (Processes(count=2).gather(own) + tripled).backward(torch.ones(4))
    assert own.grad is not None and own.grad.tolist() == [2.0, 2.0]
    assert other.grad is not None and other.grad.tolist() == [3.0] * 4


def test_shared_batch_norm_alone_is_torch_s() -> None:
    plain = nn.BatchNorm2d(3)
    shared = SharedBatchNorm2d(plain, Processes())
    # Far from zero the difference between a mean square and a squared mean would lose its digits.
    images = 100.0 + torch.randn(8, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    outputs, gradients = [], []
    for norm in (plain, shared):
        points = images.clone().requires_grad_(True)
        outputs.append(norm(points))
        gradients.append(torch.autograd.grad(outputs[-1].pow(3).sum(), points)[0])
    torch.testing.assert_close(outputs[1], outputs[0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-3, atol=1e-2)
    torch.testing.assert_close(shared.state_dict(), plain.state_dict())


def test_torchrun_trains_a_recipe(tiny_recipe_file: Path, data_dir: Path, tmp_path: Path) -> None:
    launch = tmp_path / "launch.py"
    launch.write_text(CLEAD, encoding="utf-8")
    options = ["train", str(tiny_recipe_file), "--data-dir", str(data_dir), "--device", "cpu"]
    options += ["--set", "optimiser.epochs=1"]
    _torchrun(str(launch), *options, "--out", str(tmp_path / "two"))
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(
        [sys.executable, str(launch), *options, "--out", str(tmp_path / "one")],
        env={**environment, "PYTHONPATH": str(ROOT)},
        check=True,
        capture_output=True,
    )
    (two,) = read_checkpoint(tmp_path / "two" / LAST)[1].progress.history
    (one,) = read_checkpoint(tmp_path / "one" / LAST)[1].progress.history
    # In float32 the weights drift apart by rounding; the figures tell whether both did the same.
    assert two["loss"] == pytest.approx(one["loss"], rel=1e-2)
    assert two["loss_contrast"] == pytest.approx(one["loss_contrast"], rel=1e-2)
    assert two["held_out_clean"] == pytest.approx(one["held_out_clean"], abs=0.1)
    assert (tmp_path / "two" / BEST).exists()


def test_two_processes_that_were_killed_end_as_if_they_had_not_been(
    tiny_recipe_file: Path, data_dir: Path, tmp_path: Path
) -> None:
    launch, mortal = tmp_path / "launch.py", tmp_path / "mortal.py"
    launch.write_text(CLEAD, encoding="utf-8")
    mortal.write_text(MORTAL + CLEAD, encoding="utf-8")
    # An epoch of twelve steps. Processes ask at the tenth whether a checkpoint is due: there amid replays.
    changes = ['objective={name="clead_simultaneous",projection=16,replays=4}', "checkpoint_seconds=1e-9"]
    changes += ["optimiser.epochs=1", "optimiser.average=0.9", "optimiser.weight_perturbation=0.01"]
    options = ["train", str(tiny_recipe_file), "--data-dir", str(data_dir), "--device", "cpu", "--resume"]
    options += [option for change in changes for option in ("--set", change)]
    _torchrun(str(launch), *options, "--out", str(tmp_path / "whole"))
    with pytest.raises(subprocess.CalledProcessError):
        _torchrun(str(mortal), *options, "--out", str(tmp_path / "killed"))
    assert read_checkpoint(tmp_path / "killed" / LAST)[1].progress.step == 10
    _torchrun(str(launch), *options, "--out", str(tmp_path / "killed"))
    for name in (LAST, BEST):
        whole, killed = (read_checkpoint(tmp_path / run / name)[0] for run in ("whole", "killed"))
        assert whole.keys() == killed.keys()
        assert [key for key in whole if not torch.equal(whole[key], killed[key])] == []


def test_processes_do_not_share_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    first = torch.device("cuda:0")
    assert own_device(first) == first
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "1")
    assert own_device(first) == first
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert own_device(torch.device("cuda")) == torch.device("cuda:1")
    with pytest.raises(ProcessError, match=r"--device cuda:0 would put all processes of torchrun on one GPU"):
        own_device(first)


def test_a_batch_that_cannot_be_shared_out_is_refused(tiny_recipe: Recipe) -> None:
    with pytest.raises(TrainingError, match=r"optimiser\.batch_size=60 is not divisible by the 7 processes"):
        check_batch_sizes(tiny_recipe, 180, Processes(count=7))
