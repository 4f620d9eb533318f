"""Several seeds of one recipe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from training.evaluation.figures import Evaluation, Figure
from training.evaluation.seeds import SeedsError, across_seeds


def _evaluation(seed: int, clean: float, robust: float) -> Evaluation:
    under = Figure(name="fgsm", accuracy=robust, n=100, norm="linf", eps=0.03, seconds=1.0)
    return Evaluation(
        subject="recipe",
        weights_sha256=f"{seed:064d}",
        dataset="cifar10",
        n=100,
        seed=0,
        figures=(replace(under, name="clean", accuracy=clean, norm=None, eps=None), under),
        worst_case=replace(under, name="worst-case", accuracy=robust - 0.01),
        gates=(),
        libraries={},
    )


THREE = (_evaluation(1, 0.8, 0.40), _evaluation(2, 0.8, 0.43), _evaluation(3, 0.8, 0.49))


def test_mean_and_deviation_by_hand() -> None:
    clean, fgsm, worst = across_seeds(THREE)
    assert (clean.name, clean.norm, clean.eps, clean.seeds) == ("clean", None, None, 3)
    assert (clean.mean, clean.deviation) == pytest.approx((0.8, 0.0))
    # 0.40, 0.43, 0.49: mean 0.44, squares of deviations 16 + 1 + 25 = 42 (1e-4), over 2: sqrt(21) points.
    assert (fgsm.name, fgsm.mean, fgsm.deviation) == ("fgsm", pytest.approx(0.44), pytest.approx(0.0458258))
    assert (worst.name, worst.mean, worst.deviation) == (
        "worst-case",
        pytest.approx(0.43),
        pytest.approx(0.0458258),
    )


@pytest.mark.parametrize("count", [0, 1, 2])
def test_fewer_than_three_seeds_are_refused(count: int) -> None:
    with pytest.raises(SeedsError, match=f"^{count} evaluations: a comparison needs at least 3 seeds"):
        across_seeds(THREE[:count])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda last: replace(last, weights_sha256=THREE[0].weights_sha256), "the same weights"),
        (lambda last: replace(last, n=99), "different images: 100 of cifar10 by seed 0 and 99 of"),
        (lambda last: replace(last, seed=1), "different images"),
        (lambda last: replace(last, dataset="cifar100"), "different images"),
        (lambda last: replace(last, figures=last.figures[:1]), "different attacks"),
        (lambda last: replace(last, worst_case=replace(last.worst_case, eps=0.04)), "different attacks"),
    ],
)
def test_what_cannot_be_compared_is_refused(change: Callable[[Evaluation], Evaluation], message: str) -> None:
    with pytest.raises(SeedsError, match=message):
        across_seeds((*THREE[:2], change(THREE[2])))
