"""The plot of the study's page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure as Drawing

from benchmarks.methods.measured import Arm
from training.evaluation.plot import write_png

_SHOWN = (("clean", "o", "white"), ("pgd-50-10", "s", "0.6"), ("autoattack", "D", "black"))


def draw_arms(arms: Sequence[Arm], path: Path) -> None:
    """Accuracy clean, under PGD and under AutoAttack: a row for each arm, a mark for each seed."""
    drawing = Drawing(figsize=(7.0, 0.32 * len(arms) + 1.2), layout="constrained")
    axes = drawing.add_subplot()
    for name, marker, colour in _SHOWN:
        marks = [
            (100.0 * figure.accuracy, row)
            for row, arm in enumerate(arms)
            for result in arm.results
            for figure in result.evaluation.figures
            if figure.name == name
        ]
        axes.scatter(
            [x for x, _ in marks],
            [y for _, y in marks],
            marker=marker,
            facecolor=colour,
            edgecolor="black",
            s=26,
            label=name,
            zorder=3,
        )
    axes.set_yticks(range(len(arms)), [arm.name for arm in arms])
    axes.invert_yaxis()
    axes.set_xlim(0.0, 100.0)
    axes.set_xlabel("accuracy [%], one mark for each seed")
    axes.grid(color="0.9", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.legend(frameon=False, loc="lower right")
    write_png(drawing, path)
