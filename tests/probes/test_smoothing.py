"""Randomised smoothing, on models whose smoothed classifier is known in closed form."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from probes.arrays import Array
from probes.budget import Budget
from probes.certificate import Certificate
from probes.classifier import Classifier, Gradient
from probes.smoothing import certify
from tests.probes.models import SHAPE, Convert, Linear, OneByOne, grey, many_class, on, two_class

stats = pytest.importorskip("scipy.stats")

# Noise of this size never leaves the box from a grey image: it ends at 5.8 standard deviations.
SIGMA = 0.05


class Recorded:
    """Answers with one class or, for some samples, with NaN, and keeps what it was asked."""

    def __init__(self, *, undefined: int = 0) -> None:
        self.points: list[Array] = []
        self._undefined = undefined

    def logits(self, images: Array) -> Array:
        self.points.append(images)
        logits = np.tile(np.asarray([0.0, 1.0, 0.0], dtype=np.float32), (len(images), 1))
        logits[: self._undefined] = np.nan
        return logits

    def gradient(self, images: Array, labels: Array, targets: Array, losses: Array) -> Gradient:
        raise AssertionError("smoothing asks for no gradient")


def _certify(model: Classifier, image: Array | None = None, **options: Any) -> Certificate:
    defaults: dict[str, Any] = {"sigma": SIGMA, "n0": 20, "n": 200}
    return certify(model, grey() if image is None else image, **(defaults | options))


def _linear(sigmas: float) -> tuple[Linear, float]:
    """A model whose boundary is so many standard deviations from the grey image, and that distance.

    The smoothed classifier of a linear model is the model itself (Cohen et al., arXiv 1902.02918, appendix
    B), so the distance of its boundary is the true radius.
    """
    model = two_class()
    normal = (model.weights[0] - model.weights[1]).astype(np.float64)
    length = float(np.linalg.norm(normal))
    wanted = sigmas * SIGMA * length
    offset = wanted - float(normal @ grey().reshape(-1).astype(np.float64))
    return Linear(model.weights, np.asarray([offset, 0.0], dtype=np.float32)), wanted / length


@pytest.mark.parametrize(("n", "alpha", "sigma"), [(1000, 0.001, 0.12), (100_000, 0.001, 0.25), (30, 0.1, 1)])
def test_a_constant_model_has_the_largest_radius_that_the_samples_allow(
    n: int, alpha: float, sigma: float
) -> None:
    image = np.zeros((1, 1, 2), dtype=np.float32)

    certificate = certify(Recorded(), image, sigma=sigma, n0=5, n=n, alpha=alpha, rows=5000)

    # All n samples agree, so the bound is the n-th root of alpha.
    assert (certificate.index, certificate.count) == (1, n)
    assert certificate.p_lower == pytest.approx(alpha ** (1 / n), rel=1e-12)
    assert certificate.radius == pytest.approx(sigma * stats.norm.ppf(alpha ** (1 / n)), rel=1e-9)
    assert certificate.radius_linf == pytest.approx(certificate.radius / math.sqrt(2), rel=1e-12)
    assert certificate.finished and certificate.evaluations == n + 5


def test_the_radius_is_that_of_the_papers_formula() -> None:
    model, _ = _linear(1.0)

    certificate = _certify(model, n=500, alpha=0.01)

    bound = stats.beta.ppf(0.01, certificate.count, 500 - certificate.count + 1)
    assert 300 < certificate.count < 500
    assert certificate.p_lower == pytest.approx(bound, rel=1e-9)
    assert certificate.radius == pytest.approx(SIGMA * stats.norm.ppf(bound), rel=1e-9)


def test_the_radius_exceeds_the_true_one_in_at_most_alpha_of_the_runs() -> None:
    alpha, runs = 0.1, 400
    model, true = _linear(1.0)

    certificates = [_certify(model, n0=10, n=60, alpha=alpha, seed=seed) for seed in range(runs)]

    wrong = sum(c.index is not None and (c.index != 0 or c.radius > true) for c in certificates)
    assert stats.binomtest(wrong, runs, alpha, alternative="greater").pvalue > 0.001
    # The same test refuses the estimate that has no bound in it.
    naive = sum(SIGMA * stats.norm.ppf(c.count / c.n) > true for c in certificates)
    assert stats.binomtest(naive, runs, alpha, alternative="greater").pvalue < 0.001


def test_many_samples_come_close_to_the_true_radius() -> None:
    model, true = _linear(1.0)

    few, many = (_certify(model, n=n, rows=2000) for n in (300, 30_000))

    assert few.radius < many.radius
    assert 0.94 * true < many.radius <= true


@pytest.mark.parametrize("seed", range(5))
def test_it_abstains_at_the_boundary(seed: int) -> None:
    model, _ = _linear(0.0)

    certificate = _certify(model, seed=seed)

    assert certificate.finished
    assert certificate.p_lower is not None and certificate.p_lower <= 0.5
    assert (certificate.index, certificate.radius, certificate.radius_linf) == (None, None, None)


def test_too_few_samples_certify_nothing() -> None:
    # 0.001 ** (1 / 9) is below one half and 0.001 ** (1 / 10) above.
    assert _certify(Recorded(), n=9).radius is None
    assert _certify(Recorded(), n=10).radius is not None


def test_the_same_seed_gives_the_same_certificate_in_batches_of_any_size() -> None:
    model = OneByOne(many_class())
    whole = _certify(model, sigma=0.4, rows=220, seed=3)

    assert 0 < whole.count < whole.n
    for rows in (1, 7, None):
        assert _certify(model, sigma=0.4, rows=rows, seed=3) == whole
    others = {_certify(model, sigma=0.4, seed=seed).count for seed in range(4, 10)}
    assert len(others) > 1


def test_numpy_and_torch_agree(convert: Convert) -> None:
    model, _ = _linear(1.0)
    ours = _certify(model)

    theirs = _certify(on(convert, model), convert(grey()))

    # Their normal numbers differ by rounding, which may move a sample across the boundary.
    assert theirs.index == ours.index == 0
    assert 0 < ours.count < ours.n
    assert abs(theirs.count - ours.count) <= 1
    assert theirs.radius == pytest.approx(ours.radius, rel=0.05)


def test_the_model_sees_gaussian_noise_clipped_to_its_range() -> None:
    model, sigma = Recorded(), 0.5

    _certify(model, np.zeros(SHAPE, dtype=np.float32), sigma=sigma, n=2000)

    points = np.concatenate(model.points)
    assert points.dtype == np.float32 and points.min() == 0.0 and points.max() == 1.0
    assert max(len(one) for one in model.points) <= 64
    within = 5 * 0.5 / math.sqrt(points.size)
    for share, expected in (
        (points == 0.0, 0.5),
        (points > sigma, stats.norm.sf(1)),
        (points == 1.0, stats.norm.sf(2)),
    ):
        assert np.mean(share) == pytest.approx(expected, abs=within)


def test_stopped_early_it_abstains_and_asks_no_more() -> None:
    model, asked = Recorded(), iter([False, False, False])
    budget = Budget(cancelled=lambda: next(asked, True))

    certificate = _certify(model, budget=budget, rows=30)

    assert (certificate.finished, certificate.evaluations) == (False, 90)
    assert budget.forward_evaluations == sum(len(points) for points in model.points) == 90
    assert (certificate.index, certificate.radius, certificate.p_lower) == (None, None, None)


def test_samples_without_finite_logits_count_for_no_class() -> None:
    some = _certify(Recorded(undefined=1), rows=10)
    none = _certify(Recorded(undefined=10), rows=10)

    assert (some.index, some.count) == (1, 180)
    assert (none.index, none.count, none.p_lower, none.finished) == (None, 0, 0.0, True)


@pytest.mark.parametrize(
    "options", [{"sigma": 0.0}, {"sigma": math.inf}, {"n": 0}, {"n0": 0}, {"alpha": 0.0}, {"alpha": 1.0}]
)
def test_what_cannot_be_certified_is_refused_by_name(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"^{next(iter(options))} |n is"):
        _certify(Recorded(), **options)
