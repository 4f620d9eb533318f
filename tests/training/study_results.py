"""Results of runs of the study, as its scripts write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.methods.arms import Run
from training.evaluation.figures import Evaluation, Figure, Gate

EPS = 8 / 255


def evaluation(run: Run, clean: float, robust: float, *, above: float = 0.02, failed: str = "") -> Evaluation:
    """Of 200 images; PGD is `above` AutoAttack, `failed` names a gate that does."""

    def figure(name: str, accuracy: float) -> Figure:
        attack = {"norm": None, "eps": None} if name == "clean" else {"norm": "linf", "eps": EPS}
        return Figure(name=name, accuracy=accuracy, n=200, seconds=1.0, **attack)  # type: ignore[arg-type]

    return Evaluation(
        subject=run.name,
        weights_sha256=run.name.encode().hex().ljust(64, "0"),
        dataset="cifar10",
        n=200,
        seed=0,
        figures=(
            figure("clean", clean),
            figure("fgsm", robust + 0.05),
            figure("pgd-50-10", robust + above),
            figure("transfer", clean - 0.02),
            figure("autoattack", robust),
        ),
        worst_case=figure("worst-case", robust),
        gates=(
            Gate(name="enough_images", passed=False, detail=""),
            Gate(name="converged", passed=failed != "converged", detail="twice the steps"),
        ),
        libraries={},
    )


def write_result(
    folder: Path, run: Run, measured: Evaluation, *, best_epoch: int = 1, **history: float
) -> None:
    """The file of `run`; `history` goes into each of its three epochs."""
    epoch = {"epoch": 1.0, "loss": 1.0, "seconds": 30.0, **history}
    content: dict[str, Any] = {
        "arm": run.arm,
        "seed": run.recipe.seed,
        "recipe": run.portable.model_dump(mode="json"),
        "passes_per_image_and_epoch": run.passes,
        "history": [epoch] * 3,
        "best_epoch": best_epoch,
        "transfer_3_steps": None if run.surrogate is None else 0.6,
        "evaluation": measured.to_dict(),
        "commit": "0123456789",
    }
    (folder / f"{run.name}.json").write_text(json.dumps(content), encoding="utf-8")
