"""Two attacks on the same images: how far apart their success rates are, and how far chance takes them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

CHANCE = 0.025
"""Rarer than this is no longer taken for chance: about two standard errors on one side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Paired:
    """Our successes against another attack's on the same `n` images."""

    n: int
    ours: float
    """Success rate, 0 to 1."""
    theirs: float
    ours_only: int
    """Images that ours broke and theirs did not."""
    theirs_only: int

    @property
    def difference(self) -> float:
        """Our success rate less theirs."""
        return (self.ours_only - self.theirs_only) / self.n

    @property
    def standard_error(self) -> float:
        """Of the difference, over the choice of images and the random starts."""
        differ = self.ours_only + self.theirs_only
        return math.sqrt(differ - (self.ours_only - self.theirs_only) ** 2 / self.n) / self.n

    @property
    def p(self) -> float:
        """How likely theirs alone breaks so many of the images on which the two differ, if both are equally
        strong: the exact one-sided test of McNemar (1947)."""
        differ = self.ours_only + self.theirs_only
        as_many = sum(math.comb(differ, count) for count in range(self.theirs_only, differ + 1))
        return as_many / (1 << differ)

    @property
    def not_below(self) -> bool:
        """Whether our success rate is not below theirs beyond sampling error."""
        return self.p >= CHANCE


def paired(ours: Sequence[bool], theirs: Sequence[bool]) -> Paired:
    """Compare whether each image was broken, by ours and by theirs.

    Raises:
        ValueError: there is no image, or the two are not of the same length.
    """
    if not ours:
        raise ValueError("no image was attacked, so there is nothing to compare")
    pairs = list(zip(ours, theirs, strict=True))
    return Paired(
        n=len(pairs),
        ours=sum(ours) / len(pairs),
        theirs=sum(theirs) / len(pairs),
        ours_only=sum(mine and not other for mine, other in pairs),
        theirs_only=sum(other and not mine for mine, other in pairs),
    )
