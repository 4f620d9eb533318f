"""Square: what it may find by queries alone, its moves, and what must not change its result."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probes.arrays import Array
from probes.attacks.result import AttackResult, Queried
from probes.attacks.square import square
from probes.attacks.square_moves import bump
from probes.ball import norms
from probes.budget import Budget
from probes.losses import Loss
from probes.objective import untargeted
from probes.threat import L2, Linf, Threat
from tests.probes.models import (
    Convert,
    Linear,
    OneByOne,
    TwoLayer,
    grey,
    images,
    network,
    on,
    predicted,
    to_torch,
    two_class,
)

THREATS = [Linf(), L2()]
SOME_FLIP = {"linf": 0.04, "l2": 0.25}
"""Radii at which some of the images flip and some do not."""
by_norm = pytest.mark.parametrize("threat", THREATS, ids=lambda threat: threat.norm)


def attack(
    convert: Convert, model: Linear | TwoLayer, batch: Array, eps: float, threat: Threat, **options: object
) -> AttackResult:
    """Square against the predicted labels, the result as NumPy arrays."""
    labels = convert(predicted(model, batch))
    objective = untargeted(OneByOne(on(convert, model)), labels, loss=Loss.MARGIN)
    radii = convert(np.full((len(batch),), eps, dtype=np.float32))
    settings = {"threat": threat, "eps": radii, "queries": 40, **options}
    result = square(objective.query, convert(batch), **settings)  # type: ignore[arg-type]
    return AttackResult(*(np.asarray(array) for array in result))


@by_norm
@pytest.mark.parametrize("seed", range(3))
def test_it_never_beats_the_closed_form_and_succeeds_well_beyond_it(
    convert: Convert, threat: Threat, seed: int
) -> None:
    model, batch = two_class(seed=seed), grey()[None]
    difference = (model.weights[1] - model.weights[0]).astype(np.float64)
    dual = np.abs(difference).sum() if threat.norm == "linf" else np.sqrt((difference**2).sum())
    logits = model.logits(batch).astype(np.float64)[0]
    distance = (logits[0] - logits[1]) / dual
    for factor in (0.5, 0.99):
        assert not attack(convert, model, batch, distance * factor, threat, queries=100).adversarial[0]
    beyond = attack(convert, model, batch, 3.0 * distance, threat, queries=200)
    assert beyond.adversarial[0]
    assert beyond.value[0] <= 2.0 * distance * dual + 1e-4


def test_single_pixels_lead_to_the_optimum_of_a_linear_model() -> None:
    # With squares of one pixel the search is coordinate ascent, which ends at the corner of the cube.
    model, batch, eps = two_class(), grey()[None], 0.01
    result = attack(np.asarray, model, batch, eps, Linf(), queries=800, first_share=1 / 16)
    difference = (model.weights[1] - model.weights[0]).astype(np.float64)
    lead = model.logits(batch)[0]
    best = float(lead[1] - lead[0]) + eps * np.abs(difference).sum()
    assert result.value[0] == pytest.approx(best, abs=1e-4)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.floats(0, 0.5, width=32), st.sampled_from(THREATS), st.integers(1, 20))
def test_every_query_lies_in_the_ball_and_in_the_box(
    seed: int, eps: float, threat: Threat, queries: int
) -> None:
    model, batch = network(seed=seed % 5), images(3, seed=seed)
    asked: list[Queried] = []
    result = attack(
        np.asarray, model, batch, eps, threat, queries=queries, restarts=2, seed=seed, on_query=asked.append
    )
    assert len(asked) == 2 * queries
    for points in [query.images for query in asked] + [result.images]:
        assert np.all(norms(points - batch, threat.norm) <= eps + 1e-6)
        assert np.all((points >= 0) & (points <= 1))
    wins = predicted(model, result.images) != predicted(model, batch)
    np.testing.assert_array_equal(result.adversarial, wins)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from(THREATS), st.integers(1, 20))
def test_more_restarts_never_find_less(seed: int, threat: Threat, queries: int) -> None:
    model, batch = network(seed=seed % 7), images(4, seed=seed)
    few, many = (
        attack(np.asarray, model, batch, 0.04, threat, queries=queries, restarts=restarts)
        for restarts in (1, 3)
    )
    assert np.all(many.value >= few.value) and np.all(many.adversarial >= few.adversarial)


@by_norm
def test_eps_0_gives_the_image_back(convert: Convert, threat: Threat) -> None:
    batch = images(3)
    result = attack(convert, network(), batch, 0.0, threat, restarts=2)
    np.testing.assert_array_equal(result.images, batch)
    assert not result.adversarial.any()


@by_norm
@pytest.mark.parametrize("early_stop", [False, True])
def test_the_order_of_the_batch_does_not_matter(convert: Convert, threat: Threat, early_stop: bool) -> None:
    model, batch, order = network(), images(6), np.asarray([4, 2, 0, 5, 1, 3])
    options = {"restarts": 2, "early_stop": early_stop}
    eps = SOME_FLIP[threat.norm]
    whole = attack(convert, model, batch, eps, threat, samples=convert(np.arange(6)), **options)
    mixed = attack(convert, model, batch[order], eps, threat, samples=convert(order), **options)
    assert 0 < whole.adversarial.sum() < 6
    np.testing.assert_array_equal(mixed.adversarial, whole.adversarial[order])
    np.testing.assert_array_equal(mixed.images, whole.images[order])


@by_norm
def test_compaction_does_not_change_what_flips_nor_what_is_left(convert: Convert, threat: Threat) -> None:
    model, batch, asked = network(), images(8), []
    eps = SOME_FLIP[threat.norm]
    options = {"restarts": 2, "queries": 120}
    whole = attack(convert, model, batch, eps, threat, **options)
    compacted = attack(convert, model, batch, eps, threat, early_stop=True, on_query=asked.append, **options)
    assert 0 < whole.adversarial.sum() < 8
    np.testing.assert_array_equal(compacted.adversarial, whole.adversarial)
    held = ~whole.adversarial
    np.testing.assert_array_equal(compacted.images[held], whole.images[held])
    sizes = [int(query.rows.shape[0]) for query in asked]
    assert sizes == sorted(sizes, reverse=True) and sizes[-1] == held.sum()


@by_norm
def test_numpy_and_torch_find_the_same(threat: Threat) -> None:
    pytest.importorskip("torch")
    model, batch, eps = network(), images(8), SOME_FLIP[threat.norm]
    ours, theirs = (attack(convert, model, batch, eps, threat, seed=3) for convert in (np.asarray, to_torch))
    np.testing.assert_array_equal(ours.adversarial, theirs.adversarial)
    np.testing.assert_allclose(ours.images, theirs.images, atol=1e-5)


@by_norm
def test_samples_and_seeds_have_their_own_squares(threat: Threat) -> None:
    batch, asked = np.repeat(grey()[None], 2, axis=0), []
    for seed in (0, 1):
        attack(np.asarray, network(), batch, 0.1, threat, queries=5, seed=seed, on_query=asked.append)
    first, second = asked[3].images, asked[8].images
    assert np.any(first[0] != first[1]) and np.any(first != second)


def test_the_squares_shrink_as_the_paper_s_do() -> None:
    # The changed part of each query on a grey image of 32 x 32, of 10000 scaled to 1000 queries.
    batch, asked = np.full((1, 1, 32, 32), 0.5, dtype=np.float32), []
    model = Linear(np.zeros((2, 1024), dtype=np.float32), np.asarray([1.0, 0.0], dtype=np.float32))
    attack(np.asarray, model, batch, 0.1, Linf(), queries=1000, on_query=asked.append)
    start = asked[0].images
    sides = [np.ptp(np.nonzero((query.images != start).any(axis=(0, 1, 2)))[0]) + 1 for query in asked[1:4]]
    assert max(sides) <= round(np.sqrt(0.8 * 1024)) and max(sides) > 20
    last = [int((query.images != start).sum()) for query in asked[-50:]]
    # 0.8 / 2^9 of the area is about one pixel.
    assert max(last) == 1


@pytest.mark.parametrize("side", [3, 4, 7])
def test_a_bump_has_norm_1_and_two_signs(side: int) -> None:
    pattern = bump(side)
    assert np.sum(pattern.astype(np.float64) ** 2) == pytest.approx(1.0, rel=1e-5)
    assert np.all(pattern[: side // 2] > 0) and np.all(pattern[side // 2 :] < 0)


def test_it_asks_for_no_gradient_and_a_budget_stops_it() -> None:
    class ForwardOnly:
        def logits(self, batch: Array) -> Array:
            return model.logits(batch)

        def gradient(self, *arguments: Array) -> Array:
            raise AssertionError("a query-only attack asked for a gradient")

    model, batch, asked = network(), images(4), iter([False] * 7 + [True] * 100)
    budget = Budget(cancelled=lambda: next(asked))
    query = untargeted(ForwardOnly(), predicted(model, batch), loss=Loss.MARGIN, budget=budget).query
    radii = np.full((4,), 0.05, dtype=np.float32)
    result = square(query, batch, threat=Linf(), eps=radii, queries=20, restarts=3, budget=budget)
    assert budget.exhausted and budget.forward_evaluations == 4 * 7 and budget.gradient_evaluations == 0
    assert np.isfinite(result.value).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"queries": 0}, "at least 1"),
        ({"restarts": 0}, "at least 1"),
        ({"first_share": 0.0}, "first_share"),
        ({"first_share": 1.5}, "first_share"),
    ],
)
def test_what_it_cannot_do_is_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        attack(np.asarray, network(), images(1), 0.1, Linf(), **options)
