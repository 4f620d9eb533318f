"""The files of results, put together arm by arm."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from benchmarks.methods.arms import Run, passes_spent
from benchmarks.methods.difference import Sample
from benchmarks.methods.per_image import FOLDER as PER_IMAGE
from benchmarks.methods.per_image import read_per_image
from training.evaluation.figures import Evaluation, evaluation_from_json
from training.evaluation.seeds import MINIMUM_SEEDS, Spread, across_seeds
from training.recipe import recipe_from
from training.section import RecipeError

MACHINE = "machine.toml"
"""In the folder of results: the machine of those files that do not name theirs."""
_PROVENANCE = ("cpu", "cores", "threads", "commit")


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One run."""

    arm: str
    seed: int
    recipe: dict[str, Any]
    passes: float
    history: tuple[dict[str, float], ...]
    best_epoch: int
    """Whose weights were measured, counted from 1 through `history`."""
    transfer_3_steps: float | None
    evaluation: Evaluation
    right: Mapping[str, tuple[bool, ...]]
    """Which of the evaluation's images are right, by the name of a figure; only of those that were kept."""
    provenance: Mapping[str, Any]
    """The machine, as `benchmarks.machine` gives it, and the commit that trained."""

    @property
    def spent(self) -> float:
        """Forward-and-backward passes of one training image in the whole run."""
        head = self.recipe["head"]
        return passes_spent(
            self.passes,
            epochs=self.recipe["optimiser"]["epochs"],
            head_epochs=0 if head is None else head["epochs"],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """All runs of one arm."""

    name: str
    results: tuple[Result, ...]

    @property
    def compared(self) -> bool:
        """Whether there are seeds enough for its figures to be compared."""
        return len(self.results) >= MINIMUM_SEEDS

    def spread(self, name: str) -> Spread | None:
        """Mean and deviation of a figure over the seeds; None where it was not measured."""
        figures = across_seeds([result.evaluation for result in self.results])
        return next((figure for figure in figures if figure.name == name), None)

    def sample(self, name: str) -> Sample:
        """A figure, which all of its evaluations hold, as `difference` compares it."""
        figures = [
            figure for result in self.results for figure in result.evaluation.figures if figure.name == name
        ]
        right = [result.right[name] for result in self.results if name in result.right]
        return Sample(
            accuracies=[figure.accuracy for figure in figures],
            images=figures[0].n,
            right=right if len(right) == len(figures) else None,
        )

    def three_step_transfer(self) -> tuple[float, float] | None:
        """Mean and deviation under the transfer attack of C-LEAD's public code."""
        values = [r.transfer_3_steps for r in self.results if r.transfer_3_steps is not None]
        return (fmean(values), stdev(values)) if len(values) == len(self.results) else None

    def mean_of_history(self, name: str, *, epoch: int) -> float | None:
        """The mean over the seeds of what an epoch of training (-1: the last) logged under `name`."""
        values = [result.history[epoch].get(name) for result in self.results]
        return None if None in values else fmean(value for value in values if value is not None)


def current_result(folder: Path, run: Run) -> dict[str, Any] | None:
    """What the file of `run` holds; None where there is none, or where it is stale: of another recipe."""
    file = folder / f"{run.name}.json"
    if not file.is_file():
        return None
    content: dict[str, Any] = json.loads(file.read_bytes())
    try:
        made = recipe_from(content["recipe"], origin=str(file))
    except RecipeError:
        return None
    return content if made.same_training(run.portable) else None


def stale_results(folder: Path, runs: Iterable[Run]) -> list[str]:
    """Names of the results that belong to none of `runs`, or to another recipe than theirs."""
    current = {run.name for run in runs if current_result(folder, run) is not None}
    return sorted(path.stem for path in folder.glob("*.json") if path.stem not in current)


def read_results(folder: Path, runs: Iterable[Run]) -> tuple[Arm, ...]:
    """The arms with at least one result that is not stale, in the order of `runs`."""
    found: dict[str, list[Result]] = {}
    machine = folder / MACHINE
    default = tomllib.loads(machine.read_text(encoding="utf-8")) if machine.is_file() else {}
    for run in runs:
        content = current_result(folder, run)
        if content is None:
            continue
        evaluation = evaluation_from_json(json.dumps(content["evaluation"]))
        kept = read_per_image(folder / PER_IMAGE / f"{run.name}.json", evaluation)
        found.setdefault(run.arm, []).append(
            Result(
                arm=run.arm,
                seed=run.recipe.seed,
                recipe=run.portable.model_dump(mode="json"),
                passes=content["passes_per_image_and_epoch"],
                history=tuple(content["history"]),
                best_epoch=content["best_epoch"],
                transfer_3_steps=content["transfer_3_steps"],
                evaluation=evaluation,
                right={} if kept is None else kept.right,
                provenance=default | {key: content[key] for key in _PROVENANCE if key in content},
            )
        )
    return tuple(Arm(name=name, results=tuple(results)) for name, results in found.items())
