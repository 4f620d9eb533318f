"""Memory and processor time of a few training steps of one arm, in a process of their own.

    python -m benchmarks.methods.step_cost ARM FOLDER FILE

Memory is counted above what the process holds before the first step. The images are noise: what a step needs
does not depend on them, and decoding real ones takes more memory than training does. Linux only, which says
and forgets the largest resident size of a process.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

from benchmarks.machine import provenance
from benchmarks.methods.arms import SURROGATE, Run, read_study
from training.data.images import LabelledImages
from training.loop import Trainer
from training.phase import Phase
from training.progress import TrainingProgress
from training.recipe import Recipe

FOLDER = "cost"
"""Of the files, below that of the results."""
STEPS = 4
_HELD_OUT = 10
_CLASSES = 10


def measure_costs(results: Path, *, arms: Sequence[str] | None = None) -> None:
    """Write a file for each of `arms` (all of the study without it), each measured in a fresh process."""
    files = results / FOLDER
    files.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        surrogate = _run(SURROGATE, Path(folder))
        _train(surrogate, Path(folder))
        for arm in dict.fromkeys(run.arm for run in read_study(Path(folder)).runs):
            if arms is None or arm in arms:
                file = files / f"{arm}.json"
                command = [sys.executable, "-m", "benchmarks.methods.step_cost", arm, folder, str(file)]
                # What is made once before training is made the first time, and read from its file the second.
                for _ in range(2 if hasattr(_run(arm, Path(folder)).recipe.objective, "surrogate") else 1):
                    subprocess.run(command, cwd=Path(__file__).parents[2], check=True)
                found = json.loads(file.read_bytes())
                print(f"{arm}: {found['training_mib']} MiB, {found['epoch_seconds']:.0f} s", flush=True)


def main() -> None:
    """Measure the arm named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("arm", "folder", "file"):
        parser.add_argument(name)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    run = _run(arguments.arm, Path(arguments.folder))
    with _measuring() as measured:
        _train(run, Path(arguments.folder))
    before, *after = measured.sizes
    content: dict[str, Any] = {
        "arm": run.arm,
        "training_mib": round((max(after) - before) / 1024),
        "before_mib": round(before / 1024),
        "epoch_seconds": round(epoch_seconds(measured.seconds, run.recipe), 1),
        "steps": STEPS,
        "batch_size": run.recipe.optimiser.batch_size,
        "provenance": provenance(threads=1),
    }
    Path(arguments.file).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def epoch_seconds(steps: Sequence[float], recipe: Recipe) -> float:
    """Seconds of an epoch of `recipe`, which limits its data, from those of some steps.

    The first one is left out: it makes what the others find.
    """
    batches = ((recipe.data.limit or 0) - recipe.data.holdout) // recipe.optimiser.batch_size
    return fmean(steps[1:]) * batches * int(getattr(recipe.objective, "replays", 1))


def _run(arm: str, folder: Path) -> Run:
    return next(run for run in read_study(folder).runs if run.arm == arm)


def _train(run: Run, folder: Path) -> None:
    recipe = _short(run.recipe)
    count = STEPS * recipe.optimiser.batch_size + _HELD_OUT
    random = np.random.default_rng(0)
    images = LabelledImages(
        random.integers(256, size=(count, 3, recipe.data.size, recipe.data.size), dtype=np.uint8),
        np.arange(count) % _CLASSES,
        [str(number) for number in range(_CLASSES)],
        lambda _: np.empty(0),
        recipe.data.size,
    )
    out = folder / run.name
    out.mkdir(exist_ok=True)
    trainer = Trainer(recipe, images, out, device=torch.device("cpu"), commit="unknown")
    with TrainingProgress(2, shown=False) as bars:
        trainer.run(bars)


def _short(recipe: Recipe) -> Recipe:
    """One epoch of each phase."""
    changes: dict[str, Any] = {
        "data": recipe.data.model_copy(update={"holdout": _HELD_OUT, "limit": None}),
        "optimiser": recipe.optimiser.model_copy(update={"epochs": 1}),
        "selection": recipe.selection.model_copy(update={"steps": 1}),
    }
    if recipe.head is not None:
        changes["head"] = recipe.head.model_copy(update={"epochs": 1})
    return recipe.model_copy(update=changes)


@dataclass(slots=True)
class _Measured:
    sizes: list[int] = field(default_factory=list)
    """KiB: resident before the first training step, then the largest resident size up to the end of each."""
    seconds: list[float] = field(default_factory=list)
    """Processor time of each step of the first phase."""


@contextmanager
def _measuring() -> Iterator[_Measured]:
    measured, original = _Measured(), Phase.step
    first: Phase | None = None

    def step(phase: Phase, *arguments: Any, **options: Any) -> Any:
        nonlocal first
        if first is None:
            first = phase
            # Makes the resident size of now the largest one.
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
            measured.sizes.append(_largest())
        started = time.process_time()
        result = original(phase, *arguments, **options)
        if phase is first:
            measured.seconds.append(time.process_time() - started)
        measured.sizes.append(_largest())
        return result

    with patch.object(Phase, "step", step):
        yield measured


def _largest() -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


if __name__ == "__main__":
    main()
