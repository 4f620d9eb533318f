"""Our smallest eps over foolbox's, image by image."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import fmean, median

import numpy as np

from benchmarks.agreement.journal import Journal, Row, check_together
from probes.cost import FORWARD

_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The images that both have searched. Where nothing was found, the smallest eps counts as infinite."""

    n: int
    ours: float
    """Median of our smallest eps, of examples that torch confirms."""
    theirs: float
    """Median of foolbox's best."""
    found: int
    """Images for which our search reports an example."""
    confirmed: int
    """Those among them whose reported example torch confirms, rather than one further away."""
    gradients: float
    """Of ours, in the mean."""
    forwards: float
    """Forward passes without a gradient, of ours, in the mean."""
    quantiles: dict[float, float]
    """Of ours over theirs, by the share of images below."""

    @property
    def ratio(self) -> float:
        """Of the medians: below 1, ours is nearer."""
        return self.ours / self.theirs


def compare(ours: Journal, theirs: Journal) -> Comparison:
    """The first images, up to where both have results; raises JournalError if these differ."""
    check_together([ours, theirs])
    pairs = list(zip(ours.rows, theirs.rows, strict=False))
    mine = [_or_infinite(row["confirmed"]) for row, _ in pairs]
    best = [_best(row) for _, row in pairs]
    found = [row for row, _ in pairs if row["flipped"] is not None]
    ratios = [one / other for one, other in zip(mine, best, strict=True) if math.isfinite(one + other)]
    return Comparison(
        n=len(pairs),
        ours=median(mine),
        theirs=median(best),
        found=len(found),
        confirmed=sum(_reported(row) for row in found),
        gradients=fmean(row["gradient_evaluations"] for row, _ in pairs),
        forwards=fmean(row["forward_evaluations"] for row, _ in pairs),
        quantiles=dict(zip(_QUANTILES, np.quantile(ratios, _QUANTILES).tolist(), strict=True)),
    )


def evaluations(row: Row) -> float:
    """What one search took, in gradients."""
    return float(row["gradient_evaluations"] + FORWARD * row["forward_evaluations"])


def _reported(row: Row) -> bool:
    return row["confirmed"] is not None and math.isclose(row["confirmed"], row["flipped"], rel_tol=1e-5)


def _best(row: Row) -> float:
    return min(_or_infinite(size) for name, size in row.items() if name != "image")


def _or_infinite(size: float | None) -> float:
    return math.inf if size is None else size
