"""What every attack returns, and what it tells on the way."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from probes.arrays import Array, full_like_samples, namespace
from probes.objective import Answer, Evaluation


class AttackResult(NamedTuple):
    """The worst point that was found for each sample."""

    images: Array
    """float32[N, C, H, W], inside the ball and [0, 1]; the clean image where nothing was evaluated."""
    value: Array
    """float32[N], the objective there; -inf where nothing was evaluated."""
    adversarial: Array
    """bool[N]: the goal is reached at this point."""


class Step(NamedTuple):
    """One evaluation on the way, for progress bars and for evidence checks."""

    restart: int
    step: int
    rows: Array
    """int64[M]: the samples of the attack's batch that were evaluated."""
    images: Array
    evaluation: Evaluation


OnStep: TypeAlias = Callable[[Step], None]


class Queried(NamedTuple):
    """One query of an attack without gradients."""

    restart: int
    query: int
    rows: Array
    """int64[M]: the samples of the attack's batch that were asked about."""
    images: Array
    answer: Answer


OnQuery: TypeAlias = Callable[[Queried], None]


def nothing_found(images: Array) -> AttackResult:
    """The result before any evaluation. `images` is copied."""
    xp = namespace(images)
    value = full_like_samples(images, -float("inf"))
    return AttackResult(xp.asarray(images, copy=True), value, xp.zeros_like(value, dtype=xp.bool))


def keep_worst(best: AttackResult, rows: Array, images: Array, evaluation: Evaluation | Answer) -> None:
    """Write the points that beat `best` into its arrays: reaching the goal beats any value, then the value
    counts."""
    value, adversarial = best.value[rows], best.adversarial[rows]
    better = (evaluation.adversarial & ~adversarial) | (
        (evaluation.adversarial == adversarial) & (evaluation.value > value)
    )
    chosen = rows[better]
    best.images[chosen] = images[better]
    best.value[chosen] = evaluation.value[better]
    best.adversarial[chosen] = evaluation.adversarial[better]
