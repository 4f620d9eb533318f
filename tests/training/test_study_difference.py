"""Intervals of the study's differences: against SciPy's tests where one part of the variance is absent,
against all that the accuracies allow, and by how often they hold what is true."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from benchmarks.methods.difference import Sample, difference


def _sample(right: np.ndarray, *, kept: bool = True) -> Sample:
    """Of bool[seeds, images]."""
    accuracies = [float(value) for value in right.mean(1)]
    flags = [[bool(flag) for flag in row] for row in right]
    return Sample(accuracies=accuracies, images=right.shape[1], right=flags if kept else None)


def test_where_seeds_agree_it_is_the_paired_t_interval_over_images() -> None:
    random = np.random.default_rng(0)
    ours, theirs = (np.repeat(random.random((1, 50)) < share, 3, axis=0) for share in (0.4, 0.2))
    found = difference(_sample(ours), _sample(theirs))
    expected = stats.ttest_rel(ours[0].astype(float), theirs[0].astype(float)).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert found.mean == pytest.approx(ours[0].mean() - theirs[0].mean())
    assert found.paired


def test_where_images_differ_alike_it_is_welch_s_interval_over_seeds() -> None:
    # Every image is right for two of four seeds here, for one of four there: by image nothing varies.
    ours = np.array([[1, 1, 0, 1], [0, 1, 1, 1], [1, 0, 0, 0], [0, 0, 1, 0]], dtype=bool)
    theirs = np.array([[1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0]], dtype=bool)
    found = difference(_sample(ours), _sample(theirs))
    welch = stats.ttest_ind(ours.mean(1), theirs.mean(1), equal_var=False).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((welch.low, welch.high))


def test_without_flags_it_is_the_widest_of_all_flags_with_these_accuracies() -> None:
    rows = [np.array(row, dtype=bool) for row in itertools.product((0, 1), repeat=3)]
    widest: dict[tuple[float, ...], float] = {}
    for first, second, third, fourth in itertools.product(rows, repeat=4):
        ours, theirs = np.stack([first, second]), np.stack([third, fourth])
        key = tuple(float(value) for value in (*ours.mean(1), *theirs.mean(1)))
        spread = float((ours.mean(0) - theirs.mean(0)).var(ddof=1))
        widest[key] = max(spread, widest.get(key, 0.0))
    reached = 0
    for key, spread in widest.items():
        ours, theirs = (Sample(accuracies=pair, images=3, right=None) for pair in (key[:2], key[2:]))
        found = difference(ours, theirs)
        parts = [spread / 3, *(float(np.var(pair, ddof=1)) / 2 for pair in (key[:2], key[2:]))]
        total = sum(parts)
        if total == 0.0:
            continue
        freedom = total**2 / (parts[0] ** 2 / 2 + parts[1] ** 2 + parts[2] ** 2)
        half = stats.t.ppf(0.975, freedom) * total**0.5
        assert not found.paired
        # Nowhere narrower, but where it was cut off because no difference is larger.
        assert found.high >= min(1.0, found.mean + half) - 1e-9, key
        reached += found.high == pytest.approx(min(1.0, found.mean + half))
    # Not wider than it has to be, either.
    assert reached > len(widest) / 10


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    # Images differ in how hard they are, seeds in how good they are; the truth is over all of both.
    random, trials, held = np.random.default_rng(1), 400, {True: 0, False: 0}
    for _ in range(trials):
        hardness = random.normal(0.0, 1.5, size=200)
        arms = []
        for mean in (0.4, -0.4):
            skill = mean + random.normal(0.0, 0.3, size=(3, 1))
            arms.append(random.random((3, 200)) < stats.logistic.cdf(skill - hardness))
        for kept in held:
            found = difference(*(_sample(arm, kept=kept) for arm in arms))
            held[kept] += found.low <= _TRUTH <= found.high
    assert held[True] >= 0.95 * trials
    assert held[True] <= held[False]


def _mean_accuracy(mean: float) -> float:
    grid = np.linspace(-12.0, 12.0, 4001)
    # Hardness and skill add up to one normal variable.
    density = stats.norm.pdf(grid, loc=mean, scale=np.hypot(1.5, 0.3))
    return float(np.trapezoid(stats.logistic.cdf(grid) * density, grid))


_TRUTH = _mean_accuracy(0.4) - _mean_accuracy(-0.4)


def test_a_difference_of_different_images_is_refused() -> None:
    with pytest.raises(ValueError, match="on 4 and on 5 images"):
        difference(*(Sample(accuracies=[0.5, 0.5], images=count, right=None) for count in (4, 5)))


def test_nothing_varies() -> None:
    ones = _sample(np.ones((3, 5), dtype=bool))
    found = difference(ones, ones)
    assert (found.mean, found.low, found.high) == (0.0, 0.0, 0.0)
