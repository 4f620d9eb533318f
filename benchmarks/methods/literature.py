"""Where the study's figures are below what published ones would lead one to expect."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.markdown_table import markdown_table
from benchmarks.methods.baselines import STANDARD_TRAINING
from benchmarks.methods.difference import Difference, difference
from benchmarks.methods.measured import Arm

LITERATURE = Path(__file__).with_name("literature.toml")
_THREE_STEPS = "3-step transfer"
_GAINS = """\
Against `{baseline}`, which has the same disadvantages, these gain less than published (points; the interval
as above, *within* it if it holds the published gain):"""


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


def read_literature(file: Path = LITERATURE) -> tuple[str, tuple[Published, ...]]:
    """The reason that all have in common, and the figures."""
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
    return content["common"].strip(), published


def below_expectation(arms: Mapping[str, Arm]) -> str:
    """Of arms that were compared: accuracies, then gains, that are lower than published ones."""
    common, published = read_literature()
    known = [one for one in published if one.arm in arms]
    accuracies = list(_accuracies(arms, known))
    parts = []
    if accuracies:
        table = markdown_table(("arm", "figure", "published", "here", "source"), accuracies)
        parts += [f"Lower than published:\n\n{table}", common]
    gains = list(_gains(arms, known)) if STANDARD_TRAINING in arms else []
    if gains:
        headings = ("arm", "figure", "published gain", "gain here", "source", "what is known of the reason")
        parts += [_GAINS.format(baseline=STANDARD_TRAINING), markdown_table(headings, gains)]
    return "\n\n".join(parts) or "No figure that was compared is lower than a published one."


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
