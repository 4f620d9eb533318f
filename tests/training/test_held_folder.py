"""One run at a time in a folder, which is known to be writable before any work."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from training import run
from training.checkpoint import CheckpointError
from training.data.images import DataError
from training.held_folder import held_folder
from training.phases import TrainingError

HOLD = """
import sys
from pathlib import Path
from training.held_folder import held_folder
with held_folder(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_two_runs_do_not_train_into_one_folder(
    tiny_recipe_file: Path, data_dir: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    command = [sys.executable, "-c", HOLD, str(out)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(
            TrainingError, match=r"another run is being trained in .*run at this moment; .*--out"
        ):
            run.train(str(tiny_recipe_file), data_dir=data_dir, out=out, device="cpu")
        # As kill -9 leaves it.
        other.kill()
    with held_folder(out):
        assert out.is_dir()


def test_a_folder_that_cannot_be_written_is_refused_before_the_data_are_opened(
    tiny_recipe_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opened(*_: object) -> None:
        raise AssertionError("the data were opened")

    monkeypatch.setattr(run, "training_images", opened)
    (tmp_path / "file").write_text("")
    # Not even root writes into /proc.
    for out in (tmp_path / "file" / "run", Path("/proc")):
        with pytest.raises(
            CheckpointError, match=rf"cannot write to the run's folder {out}: .*; give another"
        ):
            run.train(str(tiny_recipe_file), data_dir=tmp_path, out=out, device="cpu")


def test_a_run_that_does_not_begin_leaves_no_folder(tiny_recipe_file: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        run.train(str(tiny_recipe_file), data_dir=tmp_path / "none", out=tmp_path / "run", device="cpu")
    assert list(tmp_path.glob("run*")) == []
    (tmp_path / "run").mkdir()
    with pytest.raises(DataError, match="does not exist"):
        run.train(str(tiny_recipe_file), data_dir=tmp_path / "none", out=tmp_path / "run", device="cpu")
    assert (tmp_path / "run").is_dir()
