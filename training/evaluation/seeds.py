"""One recipe, several seeds: the mean of each figure and how far the seeds spread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from probes.threat import Norm
from training.evaluation.figures import Evaluation, Figure

MINIMUM_SEEDS = 3
"""FGSM-RS spreads by 5 points between seeds, ELLE by 25 (FastAT Benchmark): one or two runs show neither."""


class SeedsError(ValueError):
    """Evaluations that cannot be put together; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """One figure over the seeds of a recipe: accuracies in [0, 1]."""

    name: str
    norm: Norm | None
    eps: float | None
    mean: float
    deviation: float
    """Standard deviation of the sample (divided by the number of seeds less one)."""
    seeds: int


def across_seeds(evaluations: Sequence[Evaluation]) -> tuple[Spread, ...]:
    """Mean and standard deviation of each figure, and of the worst case as `worst-case`.

    Args:
        evaluations: one of each seed's weights, on the same images under the same attacks.

    Raises:
        SeedsError: there are fewer than three, weights that occur twice, or evaluations of different images
            or attacks.
    """
    if len(evaluations) < MINIMUM_SEEDS:
        raise SeedsError(
            f"{len(evaluations)} evaluations: a comparison needs at least {MINIMUM_SEEDS} seeds of a recipe"
        )
    if len({evaluation.weights_sha256 for evaluation in evaluations}) < len(evaluations):
        raise SeedsError("two evaluations are of the same weights: give one of each seed")
    first = evaluations[0]
    for evaluation in evaluations[1:]:
        if _images(evaluation) != _images(first):
            raise SeedsError(
                f"evaluations of different images: {_images(first)} and {_images(evaluation)}; use the same "
                "data, --n and --seed"
            )
        if [_key(figure) for figure in _figures(evaluation)] != [_key(figure) for figure in _figures(first)]:
            raise SeedsError("evaluations under different attacks: use the same --attacks, --norm and --eps")
    return tuple(_spread(figures) for figures in zip(*map(_figures, evaluations), strict=True))


def _images(evaluation: Evaluation) -> str:
    return f"{evaluation.n} of {evaluation.dataset} by seed {evaluation.seed}"


def _figures(evaluation: Evaluation) -> tuple[Figure, ...]:
    worst = evaluation.worst_case
    return evaluation.figures if worst is None else (*evaluation.figures, worst)


def _key(figure: Figure) -> tuple[str, Norm | None, float | None]:
    return figure.name, figure.norm, figure.eps


def _spread(figures: Sequence[Figure]) -> Spread:
    accuracies = [figure.accuracy for figure in figures]
    name, norm, eps = _key(figures[0])
    return Spread(
        name=name,
        norm=norm,
        eps=eps,
        mean=fmean(accuracies),
        deviation=stdev(accuracies),
        seeds=len(figures),
    )
