"""What a probe can cost, known before it starts."""

from __future__ import annotations

from typing import NamedTuple

from probes.approach import each_bound, first_searches_bound
from probes.controls import HUGE_STEPS, NOISE_DRAWS, QUERIES
from probes.minimal_eps import EIGHT_BIT_STEPS, search_bound
from probes.request import ProbeRequest
from probes.slope import FORWARDS, INNER_POINTS
from probes.smoothing import certificate_evaluations

_CONFIRMED = 4
"""Forward passes that one run of an attack can be followed by: its example and its worst point, on floats and
rounded to 8 bits."""
_SINGLE = 8
"""Forward passes of what is asked once: the clean image, alone and rounded, repetitions, a single step."""
FORWARD = 1 / 3
"""A forward pass in gradient evaluations, which are a forward and a backward pass that costs about two."""


class Cost(NamedTuple):
    """Evaluations: one image through one pass each."""

    gradient_evaluations: int
    forward_evaluations: int

    @property
    def total(self) -> int:
        """In gradient evaluations."""
        return self.gradient_evaluations + round(FORWARD * self.forward_evaluations)


def most(request: ProbeRequest, *, classes: int) -> Cost:
    """The most that `request` can cost, for a model of so many classes."""
    steps, restarts = request.steps, request.restarts
    full = request.evidence == "full"
    first = first_searches_bound(
        classes=classes, steps=steps, norm=request.norm, targeted=request.target is not None
    )
    each = each_bound((classes - 1) if request.every_class else 0, steps=steps, norm=request.norm)
    if request.eps is None:
        gradients, runs, balls = search_bound(steps=steps, restarts=restarts)
        # Of the curve: what the search attacks and looks at, and the nearest example's, before and after the
        # checks.
        radii = balls + 2
    else:
        radii = len(set(request.eps))
        runs = radii * (restarts + 1)
        gradients = radii * restarts * (steps + 1) + radii * (min(steps, EIGHT_BIT_STEPS) + 1)
    gradients += first.gradients + each.gradients + 1 + min(steps, HUGE_STEPS) + 1
    runs += first.examples + each.examples + 1
    gradients += 2 * restarts * (2 * steps + 1) if full else 0
    runs += 2 * restarts if full else 0
    if request.norm == "l1":
        gradients, runs = gradients + 2 * steps + 1, runs + 1
    queries, query_runs = QUERIES[request.evidence]
    gradients += INNER_POINTS
    forwards = _SINGLE + _CONFIRMED * runs + 2 * NOISE_DRAWS * radii + query_runs * (queries + 2)
    # The ends of differences, and their roundings to 8 bits.
    forwards += 2 * FORWARDS
    return Cost(gradients, forwards + certificate_evaluations(request))
