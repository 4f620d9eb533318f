"""What it takes to make an image each of the other classes."""

from __future__ import annotations

import math
from collections.abc import Sequence

from probes.findings import Findings
from probes.report import ClassDistance


def class_distances(findings: Findings, rivals: Sequence[int]) -> tuple[ClassDistance, ...] | None:
    """The distance of the nearest example of each class, as the served classifier confirmed it, nearest class
    first; None where none was looked for, because the image itself flips or nothing but it was seen."""
    first, *others = findings.seen
    if first.reached or not others:
        return None
    distances = dict.fromkeys(rivals, math.inf)
    for seen in findings.seen:
        if seen.reached and seen.prediction.index in distances:
            index = seen.prediction.index
            distances[index] = min(distances[index], seen.eps)
    return tuple(
        ClassDistance(index=index, flipped=eps if math.isfinite(eps) else None)
        for index, eps in sorted(distances.items(), key=lambda one: one[1])
    )
