"""The exact binomial bound, against scipy and against its definition."""

from __future__ import annotations

import pytest

from probes.clopper_pearson import clopper_pearson_lower

stats = pytest.importorskip("scipy.stats")

CASES = [
    (count, trials)
    for trials in (1, 2, 10, 1000, 100_000)
    for count in sorted({1, trials // 10, trials // 2, trials * 9 // 10, trials - 1, trials} - {0})
]


@pytest.mark.parametrize("alpha", [0.1, 0.001, 1e-9])
@pytest.mark.parametrize(("count", "trials"), CASES)
def test_the_bound_is_the_quantile_of_the_beta_distribution(count: int, trials: int, alpha: float) -> None:
    bound = clopper_pearson_lower(count, trials, alpha=alpha)

    assert bound == pytest.approx(stats.beta.ppf(alpha, count, trials - count + 1), rel=1e-8)


@pytest.mark.parametrize(("count", "trials"), [(3, 7), (93, 100), (999, 1000)])
def test_the_bound_is_that_of_an_independent_implementation(count: int, trials: int) -> None:
    interval = stats.binomtest(count, trials, alternative="greater").proportion_ci(
        confidence_level=0.99, method="exact"
    )

    assert clopper_pearson_lower(count, trials, alpha=0.01) == pytest.approx(interval.low, rel=1e-9)


@pytest.mark.parametrize("trials", [1, 1000, 100_000])
def test_the_extremes_have_closed_forms(trials: int) -> None:
    assert clopper_pearson_lower(0, trials, alpha=0.001) == 0.0
    assert clopper_pearson_lower(trials, trials, alpha=0.001) == pytest.approx(
        0.001 ** (1 / trials), rel=1e-13
    )


@pytest.mark.parametrize("true", [0.3, 0.84, 0.99])
def test_the_bound_is_wrong_in_at_most_alpha_of_all_experiments(true: float) -> None:
    trials, alpha = 300, 0.1

    wrong = sum(
        stats.binom.pmf(count, trials, true)
        for count in range(trials + 1)
        if clopper_pearson_lower(count, trials, alpha=alpha) > true
    )

    assert 0.3 * alpha < wrong <= alpha


@pytest.mark.parametrize(
    ("count", "trials", "alpha", "word"),
    [
        (-1, 5, 0.1, "from 0"),
        (6, 5, 0.1, "from 0"),
        (0, 0, 0.1, "at least one"),
        (1, 5, 0.0, "alpha"),
        (1, 5, 1.0, "alpha"),
    ],
)
def test_impossible_counts_are_refused(count: int, trials: int, alpha: float, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        clopper_pearson_lower(count, trials, alpha=alpha)
