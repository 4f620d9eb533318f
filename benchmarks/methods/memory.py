"""Memory of a few training steps of one arm, above what its process holds before the first of them.

    python -m benchmarks.methods.memory ARM FOLDER FILE

The images are noise: what a step needs does not depend on them, and decoding real ones takes more memory than
training does. Linux only, which says and forgets the largest resident size of a process.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
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

FOLDER = "memory"
"""Of the files, below that of the results."""
STEPS = 3
_HELD_OUT = 10
_CLASSES = 10


def measure_memory(results: Path, *, arms: Sequence[str] | None = None) -> None:
    """Write a file for each of `arms` (all of the study without it), each measured in a fresh process."""
    files = results / FOLDER
    files.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        surrogate = _run(SURROGATE, Path(folder))
        _train(surrogate, Path(folder))
        for arm in dict.fromkeys(run.arm for run in read_study(Path(folder)).runs):
            if arms is None or arm in arms:
                file = files / f"{arm}.json"
                command = [sys.executable, "-m", "benchmarks.methods.memory", arm, folder, str(file)]
                # What is made once before training is made the first time, and read from its file the second.
                for _ in range(2 if hasattr(_run(arm, Path(folder)).recipe.objective, "surrogate") else 1):
                    subprocess.run(command, cwd=Path(__file__).parents[2], check=True)
                print(f"{arm}: {json.loads(file.read_bytes())['training_mib']} MiB", flush=True)


def main() -> None:
    """Measure the arm named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("arm", "folder", "file"):
        parser.add_argument(name)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    run = _run(arguments.arm, Path(arguments.folder))
    with _measuring() as sizes:
        _train(run, Path(arguments.folder))
    content: dict[str, Any] = {
        "arm": run.arm,
        "training_mib": round((max(sizes[1:]) - sizes[0]) / 1024),
        "before_mib": round(sizes[0] / 1024),
        "steps": STEPS,
        "batch_size": run.recipe.optimiser.batch_size,
        "provenance": provenance(threads=1),
    }
    Path(arguments.file).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


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


@contextmanager
def _measuring() -> Iterator[list[int]]:
    """KiB: resident before the first training step, then the largest resident size up to the end of each."""
    sizes: list[int] = []
    original = Phase.step

    def step(phase: Phase, *arguments: Any, **options: Any) -> Any:
        if not sizes:
            # Makes the resident size of now the largest one.
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
            sizes.append(_largest())
        result = original(phase, *arguments, **options)
        sizes.append(_largest())
        return result

    with patch.object(Phase, "step", step):
        yield sizes


def _largest() -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


if __name__ == "__main__":
    main()
