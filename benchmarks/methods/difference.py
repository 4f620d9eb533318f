"""The difference of two arms' accuracies, with an interval for other seeds and other test images alike.

Right or wrong varies with the image and with the seed. The variance of a difference of means is taken as the
sum of three parts: that over images of the difference on each (averaged over the seeds), and for each of the
two arms that over seeds of its accuracy. What images and seeds bring about together is in all of them, so the
sum is rather too large. The interval is Student's, with the degrees of freedom of Welch and Satterthwaite.

Where it was not kept which images are right, the first part is the largest that the accuracies allow: two
arms that are right on shares p and q of the images (in the mean over seeds) differ on an image by d, with
mean |d| of at most min(p + q, 2 - p - q), and d * d is no larger than |d|. The interval is the widest for any
such part.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, variance

from scipy.stats import t

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One figure of one arm."""

    accuracies: Sequence[float]
    """In [0, 1], of each seed; two or more."""
    images: int
    right: Sequence[Sequence[bool]] | None
    """For each seed whether each image is right, the same images in the same order; None if not kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """In [-1, 1]: the mean, and its interval."""

    mean: float
    low: float
    high: float
    paired: bool
    """Whether images were compared one by one; otherwise the interval is the widest possible."""


def difference(ours: Sample, theirs: Sample) -> Difference:
    """Of the mean accuracies, ours less theirs.

    Raises:
        ValueError: they were measured on different numbers of images.
    """
    if ours.images != theirs.images:
        raise ValueError(f"measured on {ours.images} and on {theirs.images} images: no comparison")
    mean = fmean(ours.accuracies) - fmean(theirs.accuracies)
    paired = ours.right is not None and theirs.right is not None
    images = _over_images(ours, theirs)
    # With more of its variance over images, an interval has more degrees of freedom: it is widest at an end.
    half = max(_half_width(part, ours, theirs) for part in ((images,) if paired else (0.0, images)))
    return Difference(mean=mean, low=max(-1.0, mean - half), high=min(1.0, mean + half), paired=paired)


def _half_width(over_images: float, ours: Sample, theirs: Sample) -> float:
    parts = [(over_images, ours.images - 1)]
    for one in (ours, theirs):
        seeds = len(one.accuracies)
        parts.append((variance(one.accuracies) / seeds, seeds - 1))
    total = sum(part for part, _ in parts)
    if total == 0.0:
        return 0.0
    freedom = total**2 / sum(part**2 / degrees for part, degrees in parts)
    return float(t.ppf((1 + CONFIDENCE) / 2, freedom)) * math.sqrt(total)


def _over_images(ours: Sample, theirs: Sample) -> float:
    """Variance of the mean difference over images."""
    if ours.right is not None and theirs.right is not None:
        pairs = zip(_shares(ours.right), _shares(theirs.right), strict=True)
        return variance(first - second for first, second in pairs) / ours.images
    p, q = fmean(ours.accuracies), fmean(theirs.accuracies)
    return (min(p + q, 2 - p - q) - (p - q) ** 2) / (ours.images - 1)


def _shares(right: Sequence[Sequence[bool]]) -> list[float]:
    """Of the seeds, for each image."""
    return [fmean(flags) for flags in zip(*right, strict=True)]
