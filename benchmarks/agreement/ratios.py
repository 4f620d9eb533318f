"""Our smallest eps over foolbox's, image by image."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean, median

import numpy as np

from benchmarks.agreement.journal import Journal, Row, check_together
from probes.cost import FORWARD

MULTIPLE = 10.0
"""How many times our evaluations each attack of foolbox has to get."""
LARGEST = 1.05
"""The aim: no larger in the median than so many times foolbox's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The images that both have searched. Where nothing was found, the smallest eps counts as infinite."""

    n: int
    ours: float
    """Median of our smallest eps, of examples that torch confirms."""
    theirs: float
    """Median of foolbox's best."""
    ratios: tuple[float, ...]
    """Ours over foolbox's best, ascending; without the images of which neither found an example."""
    refuted: int
    """Images of which foolbox found an example no further away than our `held`, as torch says."""
    refuted_served: int
    """The same as the engine that serves says."""
    found: int
    """Images for which our search reports an example."""
    confirmed: int
    """Those among them whose reported example torch confirms, rather than one further away."""
    gradients: float
    """Of ours, in the mean."""
    forwards: float
    """Forward passes without a gradient, of ours, in the mean."""
    attacks: dict[str, float]
    """What each attack of foolbox took, in the mean, in gradients."""

    @property
    def ratio(self) -> float:
        """Of the medians: below 1, ours is nearer."""
        return self.ours / self.theirs

    @property
    def median_ratio(self) -> float:
        """Over the images."""
        return self.quantile(0.5)

    @property
    def above(self) -> float:
        """The share of the ratios that are above what the aim asks of their median."""
        return fmean(ratio > LARGEST for ratio in self.ratios)

    @property
    def multiple(self) -> float:
        """How many times our evaluations foolbox took, in the mean, with that of its attacks that took the
        fewest."""
        return min(self.attacks.values()) / (self.gradients + FORWARD * self.forwards)

    @property
    def counts(self) -> bool:
        """Whether foolbox had what the aim gives it."""
        return self.multiple >= MULTIPLE

    @property
    def reached(self) -> bool:
        """The aim, whichever way the median is taken."""
        return self.counts and self.ratio <= LARGEST and self.median_ratio <= LARGEST

    def quantile(self, share: float) -> float:
        """The ratio that this share of the images is not above."""
        # An infinite ratio could not be interpolated.
        return float(np.quantile(self.ratios, share, method="higher"))


def compare(ours: Journal, theirs: Journal) -> Comparison:
    """The first images, up to where both have results; raises JournalError if these differ."""
    check_together([ours, theirs])
    pairs = list(zip(ours.rows, theirs.rows, strict=False))
    mine = [_or_infinite(row["confirmed"]) for row, _ in pairs]
    best = [_nearest(row["found"].values()) for _, row in pairs]
    found = [row for row, _ in pairs if row["flipped"] is not None]
    either = [(one, other) for one, other in zip(mine, best, strict=True) if math.isfinite(min(one, other))]
    return Comparison(
        n=len(pairs),
        ours=median(mine),
        theirs=median(best),
        ratios=tuple(sorted(_ratio(one, other) for one, other in either)),
        refuted=sum(_refutes(row["found"], own) for own, row in pairs),
        refuted_served=sum(_refutes(row["served"], own) for own, row in pairs),
        found=len(found),
        confirmed=sum(_reported(row) for row in found),
        gradients=fmean(row["gradient_evaluations"] for row, _ in pairs),
        forwards=fmean(row["forward_evaluations"] for row, _ in pairs),
        attacks={
            name: fmean(row["evaluations"][name] for _, row in pairs)
            for name in theirs.rows[0]["evaluations"]
        },
    )


def evaluations(row: Row) -> float:
    """What one search of ours took, in gradients."""
    return float(row["gradient_evaluations"] + FORWARD * row["forward_evaluations"])


def _refutes(sizes: Row, ours: Row) -> bool:
    return ours["held"] is not None and _nearest(sizes.values()) <= ours["held"]


def _ratio(ours: float, theirs: float) -> float:
    if ours == theirs:
        return 1.0
    return ours / theirs if theirs else math.inf


def _reported(row: Row) -> bool:
    return row["confirmed"] is not None and math.isclose(row["confirmed"], row["flipped"], rel_tol=1e-5)


def _nearest(sizes: Iterable[float | None]) -> float:
    return min(map(_or_infinite, sizes), default=math.inf)


def _or_infinite(size: float | None) -> float:
    return math.inf if size is None else size
