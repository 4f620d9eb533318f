"""What the figures say about the questions that the study was made for."""

from __future__ import annotations

import math
from collections.abc import Mapping

from benchmarks.methods.measured import Arm

BASELINE = "pgd-at"
CLAIM = 10
"""Points, in summaries of C-LEAD."""


def findings(arms: Mapping[str, Arm]) -> str:
    """Sentences, each from the figures of arms that were compared."""
    parts = [_against_the_claim(arms), _static(arms), _selection(arms)]
    return (
        "\n\n".join(part for part in parts if part) or "The arms that answer a question are not complete yet."
    )


def _against_the_claim(arms: Mapping[str, Arm]) -> str:
    named = [name for name in arms if name.startswith("clead") and name != "clead-static"]
    if BASELINE not in arms or not named:
        return ""
    lines = [
        f"**C-LEAD's claim** is more than {CLAIM} points over standard adversarial training under PGD.",
        f"Against `{BASELINE}` here, in points (with the standard error over seeds):",
        "",
        "| arm | PGD-50-10 | AutoAttack |",
        "|---|---|---|",
    ]
    for name in named:
        cells = [_difference(arms[name], arms[BASELINE], figure) for figure in ("pgd-50-10", "autoattack")]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _difference(arm: Arm, baseline: Arm, figure: str) -> str:
    ours, theirs = arm.spread(figure), baseline.spread(figure)
    if ours is None or theirs is None:
        return "-"
    error = math.hypot(ours.deviation / math.sqrt(ours.seeds), theirs.deviation / math.sqrt(theirs.seeds))
    return f"{100 * (ours.mean - theirs.mean):+.1f} ± {100 * error:.1f}"


def _static(arms: Mapping[str, Arm]) -> str:
    arm = arms.get("clead-static")
    if arm is None:
        return ""
    clean, auto, weak = arm.spread("clean"), arm.spread("autoattack"), arm.three_step_transfer()
    if clean is None or auto is None or weak is None:
        return ""
    return (
        "**The public code's evaluation** shows images that were perturbed, in three steps, on another "
        f"network. Measured so, `clead-static` keeps {weak[0]:.1%} of all images (clean: {clean.mean:.1%}); "
        f"under a white-box AutoAttack it keeps {auto.mean:.1%}."
    )


def _selection(arms: Mapping[str, Arm]) -> str:
    lines = []
    for name, arm in arms.items():
        positives = arm.mean_of_history("loss_positives_kept")
        negatives = arm.mean_of_history("loss_negatives_kept")
        if positives is not None and negatives is not None:
            lines.append(f"| {name} | {positives:.1%} | {negatives:.1%} |")
    if not lines:
        return ""
    head = (
        "**ASCL's selection** keeps, in the last epoch (its abstract: 42.8% and 6.3% for leaked-local):\n\n"
    )
    return head + "\n".join(["| arm | positives | negatives |", "|---|---|---|", *lines])
