"""What a probe wants the classifier to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from probes.arrays import Array, full_like_samples, namespace
from probes.losses import UNTARGETED

DECISIVE = 1e-6
"""A goal counts as reached only if it is won by more than this part of the logits' spread, and by more than
float32's rounding of those that decide: the same image then gives the same class in a batch of another size.
"""

CLAIMED = 1e-4
"""The lead at which an attack stops: large enough that the served classifier, whose graph rounds differently
from the gradient's, agrees."""


ROUNDING = 2.0**-22
"""Two units in the last place of float32."""
_LIKELY = 6
"""The spread is measured among this many of the likeliest classes; where half of all classes and one more are
fewer, among those."""


class Assessment(NamedTuple):
    """How far a goal is, sample by sample."""

    margin: Array
    """float32[N], in logits; negative once the goal is reached, 0 where the logits are not finite."""
    reached: Array
    """bool[N]: never where the logits are not finite."""
    finite: Array
    """bool[N]."""


def spread(logits: Array) -> Array:
    """How far apart the logits [N, K] of the likelier classes are, float32[N].

    Not the range of all: a class that is ruled out by a logit of -65504, as masks are written, decides
    nothing, and must not make everything else look small.
    """
    return _spread(namespace(logits).sort(logits, axis=1))


def decisive(logits: Array, *, lead: float) -> Array:
    """By how much a goal must be won, float32[N]: `lead` times the spread of the logits [N, K], which does
    not change when all of them are shifted, and the rounding of the two largest, which does."""
    xp = namespace(logits)
    ordered = xp.sort(logits, axis=1)
    largest = xp.max(abs(ordered[:, -2:]), axis=1)
    return lead * _spread(ordered) + ROUNDING * largest


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """To lose `label`, or, with a `target`, to reach it. Both are class indices."""

    label: int
    target: int | None = None

    def assess(self, logits: Array, *, lead: float = DECISIVE) -> Assessment:
        """How far the goal is, from logits [N, K].

        The margin is, untargeted, the label's logit less the largest other one; targeted, the largest other
        one less the target's. The goal is reached where that is negative by more than `decisive`.
        """
        xp = namespace(logits)
        finite = xp.all(xp.isfinite(logits), axis=1)
        if not bool(xp.all(finite)):
            logits = xp.where(finite[:, None], logits, xp.zeros_like(logits))
        wanted = self.label if self.target is None else self.target
        others = xp.concat((logits[:, :wanted], logits[:, wanted + 1 :]), axis=1)
        margin = logits[:, wanted] - xp.max(others, axis=1)
        if self.target is not None:
            margin = -margin
        # The difference of two finite logits may overflow.
        finite = finite & xp.isfinite(margin)
        margin = xp.where(finite, margin, xp.zeros_like(margin))
        return Assessment(margin, finite & (-margin > decisive(logits, lead=lead)), finite)

    def reached_by(self, index: int) -> bool:
        """Whether predicting class `index` is what the goal wants."""
        return index != self.label if self.target is None else index == self.target

    def rivals(self, logits: Array) -> list[int]:
        """All classes but the label, the likeliest first, by NumPy logits [K]."""
        return [int(index) for index in np.argsort(-logits, kind="stable") if index != self.label]

    def labels(self, like: Array) -> Array:
        """int64[N]: the label once per sample of `like`."""
        return _classes(like, self.label)

    def targets(self, like: Array) -> Array:
        """int64[N]: the target once per sample of `like`, -1 without one."""
        return _classes(like, UNTARGETED if self.target is None else self.target)


def _spread(ordered: Array) -> Array:
    """Of logits [N, K] in ascending order."""
    return ordered[:, -1] - ordered[:, -min(_LIKELY, ordered.shape[1] // 2 + 1)]


def _classes(like: Array, index: int) -> Array:
    xp = namespace(like)
    return xp.astype(full_like_samples(like, float(index)), xp.int64)
