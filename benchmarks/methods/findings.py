"""What the figures say about the questions that the study was made for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from statistics import fmean

from benchmarks.markdown_table import markdown_table
from benchmarks.methods.baselines import STANDARD_TRAINING, same_attack
from benchmarks.methods.difference import Difference, difference
from benchmarks.methods.measured import Arm

CLAIM = 10
"""Points, in summaries of C-LEAD."""
_FIGURES = ("pgd-50-10", "autoattack")
_NAMES = ("PGD-50-10", "AutoAttack")
_CLAIM = f"""\
**C-LEAD's claim** is more than {CLAIM} points over standard adversarial training under PGD. Against
`{STANDARD_TRAINING}`, whatever the arm's own attack:"""
_INTERVALS = """\
**Differences** are in points, each with a 95% interval for other seeds and other test images alike
(`benchmarks/methods/difference.py`); it is not widened for the number of arms. Where it was kept which
images each run gets right, they are compared image by image. Cells with a star lack that, so their interval
is the widest that the accuracies allow. AutoAttack alone took {minutes:.0f} minutes a run in the mean, beside
other work, so its part was not made again to get them."""


def findings(arms: Mapping[str, Arm]) -> str:
    """Sentences, each from the figures of arms that were compared."""
    parts = [_same_attack(arms), _against_the_claim(arms), _static(arms)]
    found = [part for part in parts if part]
    if not found:
        return "The arms that answer a question are not complete yet."
    return "\n\n".join([_intervals(arms.values()), *found])


def _intervals(arms: Iterable[Arm]) -> str:
    seconds = [
        figure.seconds
        for arm in arms
        for result in arm.results
        for figure in result.evaluation.figures
        if figure.name == "autoattack"
    ]
    return _INTERVALS.format(minutes=fmean(seconds) / 60)


def _same_attack(arms: Mapping[str, Arm]) -> str:
    lines = []
    for name, arm in arms.items():
        baseline = same_attack(arm, arms.values())
        if baseline is not None:
            lines.append((name, baseline.name, *map(_cell, _differences(arm, baseline))))
    if not lines:
        return ""
    return (
        "**Like for like**: against plain adversarial training with the same attack (where that starts, and "
        "what it climbs, may differ). Arms that make no such perturbations, or a mix of them, have no such "
        f"baseline here.\n\n{markdown_table(('arm', 'baseline', *_NAMES), lines)}"
    )


def _against_the_claim(arms: Mapping[str, Arm]) -> str:
    named = [name for name in arms if name.startswith("clead") and name != "clead-static"]
    if STANDARD_TRAINING not in arms or not named:
        return ""
    found = {name: _differences(arms[name], arms[STANDARD_TRAINING]) for name in named}
    return "\n\n".join(
        [
            _CLAIM,
            markdown_table(("arm", *_NAMES), ((name, *map(_cell, cells)) for name, cells in found.items())),
            _judged({name: under_pgd for name, (under_pgd, _) in found.items()}),
        ]
    )


def _judged(found: Mapping[str, Difference]) -> str:
    claimed = CLAIM / 100
    groups = {
        f"below {CLAIM} points": [name for name, gain in found.items() if gain.high < claimed],
        f"around {CLAIM} points": [n for n, gain in found.items() if gain.low <= claimed <= gain.high],
        f"above {CLAIM} points": [name for name, gain in found.items() if gain.low > claimed],
    }
    listed = "; ".join(f"{text} for {', '.join(names)}" for text, names in groups.items() if names)
    return f"The interval under PGD lies {listed}."


def _differences(arm: Arm, baseline: Arm) -> tuple[Difference, Difference]:
    pgd, auto = (difference(arm.sample(name), baseline.sample(name)) for name in _FIGURES)
    return pgd, auto


def _cell(found: Difference) -> str:
    """In points."""
    mean, low, high = (100 * value for value in (found.mean, found.low, found.high))
    return f"{mean:+.1f} ({low:+.1f} to {high:+.1f}){'' if found.paired else ' *'}"


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
