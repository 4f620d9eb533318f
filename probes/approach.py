"""The nearest examples, looked for by FMN from the clean image on, towards several classes at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from probes.arrays import Array
from probes.attacks.fmn import Nearest, fmn
from probes.findings import batch_rows
from probes.goal import CLAIMED, decisive
from probes.ladder import ROUNDING, Ladder
from probes.losses import UNTARGETED, Loss, loss_and_cotangent
from probes.objective import Evaluation
from probes.request import default_search_end
from probes.threat import L1, L2, DenseL1, Linf, Norm, Threat

FAR_STEPS: Mapping[Norm, int] = MappingProxyType({"linf": 1, "l2": 1, "l1": 2})
"""How many times as many steps a search from the clean image takes as the attack. In l1 what it misses the
attack seldom finds."""
WALKS: Mapping[Norm, tuple[Threat, ...]] = MappingProxyType(
    {"linf": (Linf(),), "l2": (L2(),), "l1": (L1(), L1(fewest=16), DenseL1())}
)
"""How such a search moves; in l1 in three ways, because now one and now another ends far off."""
FIRST_RIVALS = 5
"""How many of the likeliest other classes a probe without a target goes towards, each by itself: the nearest
example of all is seldom of one beyond these, and often of another one than the likeliest."""
REFINING_STEPS = 10
CLOSER_STEPS = 2
"""How many times as many steps as the attack a search takes that goes on from what the cross-entropy found of
one class. That may lie at several times the smallest distance."""
_MEASURED = 1e-5
"""By what part float32 may be wrong about a norm."""


class Pace(NamedTuple):
    """How fast a search moves and its radius changes, at first; see `probes.attacks.fmn`."""

    step_size: float
    gamma: float


_FAR = Pace(step_size=1.0, gamma=0.1)
_CLOSER = Pace(step_size=0.3, gamma=0.2)
_CLOSE = Pace(step_size=0.3, gamma=0.03)
"""What suits a search from the clean image, from examples that may be far off, and from the nearest."""


def approach(ladder: Ladder, rivals: Sequence[int], *, steps: int, max_eps: float) -> None:
    """The searches from the clean image that a probe begins with.

    Without a target one goes away from the label, and one towards each of the likeliest of `rivals`. Whatever
    reaches the ladder's goal on the way counts, so that they compete; the nearest example of each goes to the
    findings. A target is often far away: `approach_each` goes there as well.

    Args:
        rivals: the other classes, the likeliest first.
        steps: of the attack; a search takes `FAR_STEPS` times as many.
        max_eps: the largest distance that an example is looked for at.
    """
    target = ladder.findings.goal.target
    # Of two classes, to lose the one is to reach the other: there is nothing else to go towards.
    others = rivals[:FIRST_RIVALS] if len(rivals) > 1 else []
    towards = [UNTARGETED, *others] if target is None else [target]
    # In the other norms, staying inside makes a search end nearer.
    reach = _reach(ladder, max_eps) if ladder.threat.norm == "l1" else max_eps
    for walk, few in _batches(ladder, towards):
        far = steps * FAR_STEPS[walk.norm]
        hand_over(ladder, nearest(ladder, few, walk=walk, steps=far, max_eps=reach), max_eps=max_eps)
    if target is not None and others:
        approach_each(ladder, [target], steps=steps, max_eps=max_eps)


def approach_each(ladder: Ladder, classes: Sequence[int], *, steps: int, max_eps: float) -> None:
    """One search towards each of `classes`, side by side, and one that goes on from where it ended.

    Whatever is found goes to the findings, and so counts for the ladder's own goal as well. The searches go
    beyond `max_eps`, as far as they would without it.

    Args:
        classes: any but the label.
        steps: of the attack; the first search takes `FAR_STEPS` times as many, the second `CLOSER_STEPS`.
        max_eps: the largest distance that an example counts at.
    """
    reach = _reach(ladder, max_eps)
    for walk, few in _batches(ladder, classes):
        found = nearest(
            ladder,
            few,
            walk=walk,
            steps=steps * FAR_STEPS[walk.norm],
            max_eps=reach,
            loss=Loss.CROSS_ENTROPY,
            own_goal=True,
        )
        closer = nearest(
            ladder,
            few,
            walk=walk,
            steps=steps * CLOSER_STEPS,
            max_eps=reach,
            own_goal=True,
            start=found.images,
            pace=_CLOSER,
        )
        hand_over(ladder, closer, max_eps=max_eps)
        # Stopped before its first evaluation the second search knows nothing.
        lost = found.adversarial & ~closer.adversarial
        hand_over(ladder, found._replace(adversarial=lost), max_eps=max_eps)


def _reach(ladder: Ladder, max_eps: float) -> float:
    """Where a search may go that looks for examples within `max_eps`: an example outside of a ball often
    leads to one inside."""
    return max(max_eps, default_search_end(ladder.threat.norm, ladder.findings.clean.size))


def _batches(ladder: Ladder, towards: Sequence[int]) -> Iterator[tuple[Threat, Sequence[int]]]:
    rows = batch_rows(ladder.findings.clean)
    for walk in WALKS[ladder.threat.norm]:
        for first in range(0, len(towards), rows):
            yield walk, towards[first : first + rows]


class Most(NamedTuple):
    """The most gradient evaluations that searches take, and the most examples that they hand over."""

    gradients: int
    examples: int


def first_searches_bound(*, classes: int, steps: int, norm: Norm, targeted: bool) -> Most:
    """Of `approach`, with a model of so many classes."""
    searches = (1 if targeted else 1 + min(FIRST_RIVALS, classes - 1)) * len(WALKS[norm])
    gradients, examples = each_bound(1 if targeted else 0, steps=steps, norm=norm)
    return Most(gradients + searches * (FAR_STEPS[norm] * steps + 1), examples + searches)


def each_bound(classes: int, *, steps: int, norm: Norm) -> Most:
    """Of `approach_each`, for so many classes."""
    searches = classes * len(WALKS[norm])
    return Most(searches * ((FAR_STEPS[norm] + CLOSER_STEPS) * steps + 2), searches)


def refine(ladder: Ladder) -> None:
    """A short search with small steps that starts from the nearest example so far."""
    example = ladder.findings.smallest()
    if example is None or example.eps == 0 or ladder.budget.stop():
        return
    goal = ladder.findings.goal
    towards = [UNTARGETED if goal.target is None else goal.target]
    found = nearest(
        ladder,
        towards,
        walk=ladder.threat,
        steps=REFINING_STEPS,
        max_eps=example.eps,
        start=example.image[None],
        pace=_CLOSE,
    )
    hand_over(ladder, found, max_eps=example.eps)


def nearest(
    ladder: Ladder,
    towards: Sequence[int],
    *,
    walk: Threat,
    steps: int,
    max_eps: float,
    loss: Loss = Loss.MARGIN,
    own_goal: bool = False,
    start: Array | None = None,
    pace: Pace = _FAR,
) -> Nearest:
    """FMN around the findings' clean image, a row for each class of `towards` (-1: away from the label).

    Args:
        walk: the ladder's threat model, or one that moves within the same balls in another way.
        max_eps: no row looks beyond it.
        loss: whose gradient the steps follow. Towards a class that is far away the cross-entropy, which
            pushes all others down together, gets nearer in a few steps than the margin does.
        own_goal: a row counts as adversarial only where its own class is reached; otherwise wherever the
            ladder's goal is.
        start: float32[R, C, H, W] in [0, 1], points to start from; the clean image without it.

    Returns:
        float32[R, C, H, W] and their distances, as the gradient graph sees them: not yet confirmed.
    """
    clean, goal, budget = ladder.findings.clean, ladder.findings.goal, ladder.budget
    images = np.repeat(clean[None], len(towards), axis=0)
    labels, targets = goal.labels(images), np.asarray(towards, dtype=np.int64)
    losses, margins = np.full_like(targets, int(loss)), np.full_like(targets, int(Loss.MARGIN))

    def boundary(images: Array, rows: Array) -> Evaluation:
        budget.gradient_evaluations += len(rows)
        logits, _, gradient = ladder.classifier.gradient(images, labels[rows], targets[rows], losses[rows])
        lead, _ = loss_and_cotangent(logits, labels[rows], targets[rows], margins[rows])
        if own_goal:
            reached = lead > decisive(logits, lead=CLAIMED)
        else:
            reached = goal.assess(logits, lead=CLAIMED).reached
        return Evaluation(lead, gradient, reached)

    return fmn(
        boundary,
        images,
        threat=walk,
        steps=steps,
        max_eps=max_eps * (1.0 - ROUNDING) - ROUNDING,
        start=start,
        budget=budget,
        on_step=lambda _: ladder.on_step(),
        step_size=pace.step_size,
        gamma=pace.gamma,
    )


def hand_over(ladder: Ladder, found: Nearest, *, max_eps: float) -> None:
    """The served classifier is asked about what was found within `max_eps`."""
    # FMN measures in float32; whatever is on the edge is moved inside in double precision before it counts.
    near = found.adversarial & (found.size <= max_eps * (1.0 + _MEASURED))
    if np.any(near):
        sizes = found.size[near].astype(np.float64) * (1.0 + ROUNDING) + ROUNDING
        ladder.findings.judge(found.images[near], np.minimum(sizes, max_eps), claimed=True)
