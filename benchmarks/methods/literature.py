"""Where the study's figures are below what published ones would lead one to expect."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from benchmarks.markdown_table import markdown_table
from benchmarks.methods.baselines import STANDARD_TRAINING
from benchmarks.methods.difference import Difference, difference
from benchmarks.methods.measured import Arm

LITERATURE = Path(__file__).with_name("literature.toml")
_THREE_STEPS = "3-step transfer"
_GAINS = """\
Against `{baseline}`, which has the same disadvantages, these gain less than published (points; the interval
as above, *within* it if it holds the published gain):"""

_FAR_APART = """\
Accuracy under PGD-50-10 is farther above that under AutoAttack than in FastAT Benchmark's runs that did not
collapse (up to {most:g} points): {arms}. PGD on the cross-entropy flatters these."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A figure of one arm, in percent or points."""

    arm: str
    figure: str
    accuracy: float | None
    gain: float | None
    """Over standard adversarial training."""
    source: str
    reason: str
    """Why the gain may be smaller here."""


class Literature(NamedTuple):
    """What is published on CIFAR-10, l-inf, eps 8/255."""

    common: str
    """The reason why figures are lower here, as far as all have it in common."""
    published: tuple[Published, ...]
    most_above_autoattack: float
    """Points from AutoAttack up to PGD-50, in runs that did not collapse."""


def read_literature(file: Path = LITERATURE) -> Literature:
    """What `file` holds."""
    content = tomllib.loads(file.read_text(encoding="utf-8"))
    published = tuple(
        Published(
            arm=arm,
            figure=one["figure"],
            accuracy=one.get("accuracy"),
            gain=one.get("gain"),
            source=one["source"],
            reason=one.get("reason", ""),
        )
        for one in content["published"]
        for arm in one["arms"]
    )
    return Literature(content["common"].strip(), published, content["most_above_autoattack"])


def below_expectation(arms: Mapping[str, Arm]) -> str:
    """Of arms that were compared: accuracies, then gains, that are lower than published ones."""
    literature = read_literature()
    known = [one for one in literature.published if one.arm in arms]
    accuracies = list(_accuracies(arms, known))
    parts = []
    if accuracies:
        table = markdown_table(("arm", "figure", "published", "here", "source"), accuracies)
        parts += [f"Lower than published:\n\n{table}", literature.common]
    gains = list(_gains(arms, known)) if STANDARD_TRAINING in arms else []
    if gains:
        headings = ("arm", "figure", "published gain", "gain here", "source", "what is known of the reason")
        parts += [_GAINS.format(baseline=STANDARD_TRAINING), markdown_table(headings, gains)]
    if far_apart := list(_far_above_autoattack(arms.values(), literature.most_above_autoattack)):
        parts.append(_FAR_APART.format(most=literature.most_above_autoattack, arms=", ".join(far_apart)))
    return "\n\n".join(parts) or "No figure that was compared is lower than a published one."


def _far_above_autoattack(arms: Iterable[Arm], most: float) -> Iterator[str]:
    for arm in arms:
        under_pgd, under_all = _accuracy(arm, "pgd-50-10"), _accuracy(arm, "autoattack")
        if under_pgd is not None and under_all is not None and 100 * (under_pgd - under_all) > most:
            yield f"{arm.name} ({100 * (under_pgd - under_all):.1f})"


def _accuracies(arms: Mapping[str, Arm], published: list[Published]) -> Iterator[tuple[str, ...]]:
    for one in published:
        found = _accuracy(arms[one.arm], one.figure)
        if one.accuracy is not None and found is not None and 100 * found < one.accuracy:
            yield one.arm, one.figure, f"{one.accuracy:.1f}%", f"{found:.1%}", one.source


def _accuracy(arm: Arm, figure: str) -> float | None:
    if figure == _THREE_STEPS:
        weak = arm.three_step_transfer()
        return None if weak is None else weak[0]
    spread = arm.spread(figure)
    return None if spread is None else spread.mean


def _gains(arms: Mapping[str, Arm], published: list[Published]) -> Iterator[tuple[str, ...]]:
    baseline = arms[STANDARD_TRAINING]
    for one in published:
        if one.gain is None:
            continue
        found = difference(arms[one.arm].sample(one.figure), baseline.sample(one.figure))
        if 100 * found.mean < one.gain:
            yield one.arm, one.figure, f"{one.gain:+.1f}", _here(found, one.gain), one.source, one.reason


def _here(found: Difference, gain: float) -> str:
    within = 100 * found.low <= gain <= 100 * found.high
    return f"{100 * found.mean:+.1f}, {'within' if within else 'below'}"
