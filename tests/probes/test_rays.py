"""RayS: how near it comes where the nearest is known, what it may look at, and what must not change its
result.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probes.arrays import Array, flatten, namespace
from probes.attacks.rays import rays
from probes.attacks.result import AttackResult, Queried
from probes.budget import Budget
from probes.classifier import Classifier, Gradient
from probes.losses import Loss
from probes.objective import Answer, untargeted
from tests.probes.models import (
    Convert,
    Linear,
    OneByOne,
    TwoLayer,
    grey,
    images,
    linear_distance,
    network,
    on,
    predicted,
    to_torch,
    two_class,
)

SOME_FLIP = 0.04
"""A radius at which some of the images of `network` flip in 60 queries and some do not."""


def attack(
    convert: Convert,
    model: Linear | TwoLayer,
    batch: Array,
    eps: Array,
    *,
    seen_as: Callable[[Classifier], Classifier] = OneByOne,
    queries: int = 60,
    **options: Any,
) -> AttackResult:
    """Against the predicted labels, eps a number or float32[N]; the result as NumPy arrays."""
    labels = convert(predicted(model, batch))
    query = untargeted(seen_as(on(convert, model)), labels, loss=Loss.MARGIN).query
    radii = convert(np.broadcast_to(np.asarray(eps, dtype=np.float32), (len(batch),)).copy())
    result = rays(query, convert(batch), eps=radii, queries=queries, **options)
    return AttackResult(*(np.asarray(array) for array in result))


def same(found: AttackResult, other: AttackResult, rows: Any = slice(None)) -> None:
    """All that was found for the rows of the second is what was found for the first, to the bit."""
    for mine, theirs in zip(found, other, strict=True):
        np.testing.assert_array_equal(mine, theirs[rows])


def of_blocks(signs: tuple[int, ...], *, margin: float) -> Linear:
    """Two classes over 48 values that are weighed alike but for the signs of equal blocks."""
    weights = np.repeat(np.asarray(signs, dtype=np.float32), 48 // len(signs))
    bias = np.asarray([margin - 0.5 * weights.sum(), 0.0], dtype=np.float32)
    return Linear(np.stack([weights, np.zeros_like(weights)]), bias)


@pytest.mark.parametrize("signs", [(1,), (-1,), (1, -1), (-1, 1, 1, -1), (1, 1, -1, 1, -1, -1, 1, -1)])
def test_directions_of_equal_blocks_are_found_when_the_blocks_are_as_small(
    convert: Convert, signs: tuple[int, ...]
) -> None:
    model, batch = of_blocks(signs, margin=4.8), np.full((1, 3, 4, 4), 0.5, dtype=np.float32)
    # The image, the first direction, 1 + 2 + 4 + 8 blocks, and ten halvings of [0, 1] or of less for each.
    queries, tolerance = 2 + 15 + 16 * 10, 1e-3
    result = attack(convert, model, batch, 0.1 + tolerance, queries=queries, tolerance=tolerance)
    assert result.adversarial[0]
    np.testing.assert_array_equal(
        np.sign(result.images[0] - batch[0]).ravel(), np.sign(model.weights[1] - model.weights[0])
    )
    assert 0.1 <= -result.value[0] <= 0.1 + tolerance


@pytest.mark.parametrize("seed", range(3))
def test_single_values_lead_to_the_distance_of_a_linear_model(convert: Convert, seed: int) -> None:
    model, batch, tolerance = two_class(seed=seed), grey()[None], 1e-5
    distance = linear_distance(model, batch[0], "linf")
    result = attack(convert, model, batch, 0.5, queries=1500, tolerance=tolerance)
    # Each of the 48 values may keep the wrong sign if the right one brings the other class less than the
    # tolerance nearer.
    assert distance - 1e-6 <= -result.value[0] <= distance + 48 * tolerance
    wanted = model.weights[1] - model.weights[0]
    clear = np.abs(wanted) > 0.02 * np.abs(wanted).sum() / 48
    np.testing.assert_array_equal(np.sign(result.images[0] - batch[0]).ravel()[clear], np.sign(wanted)[clear])


def test_a_turn_that_comes_no_nearer_is_not_kept(convert: Convert) -> None:
    # The second half weighs nothing. [0, 1] is halved to [0.25, 0.375], then [0, 0.375] to [0.1875, 0.375].
    weights = np.repeat(np.asarray([1.0, 0.0], dtype=np.float32), 24)
    model = Linear(np.stack([weights, 0.0 * weights]), np.asarray([0.3 * 24 - 12, 0.0], dtype=np.float32))
    batch, seen = np.full((1, 3, 4, 4), 0.5, dtype=np.float32), []
    result = attack(convert, model, batch, 0.45, tolerance=0.2, on_query=seen.append)
    np.testing.assert_array_equal(result.images, batch - np.float32(0.375))
    # After the image and the first direction, all differ from the one that was kept in one block.
    raised = [int((np.asarray(one.images) > 0.5).sum()) for one in seen[2:]]
    assert max(raised) == 24


def test_a_radius_that_is_known_roughly_is_settled_at_eps(convert: Convert) -> None:
    model, batch = of_blocks((1,), margin=4.8), np.full((1, 3, 4, 4), 0.5, dtype=np.float32)
    flips = [
        attack(convert, model, batch, eps, tolerance=0.4).adversarial[0] for eps in (0.0999, 0.1001, 0.2)
    ]
    assert flips == [False, True, True]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.floats(0, 0.5, width=32), st.integers(1, 60), st.booleans())
def test_all_points_lie_in_the_box_and_the_result_in_the_ball(
    seed: int, eps: float, queries: int, early_stop: bool
) -> None:
    model, batch, seen = network(seed=seed % 5), images(3, seed=seed), []
    result = attack(
        np.asarray, model, batch, eps, queries=queries, early_stop=early_stop, on_query=seen.append
    )
    for points in [one.images for one in seen] + [result.images]:
        assert np.all((points >= 0) & (points <= 1))
    assert np.all(np.abs(result.images - batch) <= eps + 1e-6)
    wins = predicted(OneByOne(model), result.images) != predicted(model, batch)
    np.testing.assert_array_equal(result.adversarial, wins)
    np.testing.assert_array_equal(result.adversarial, -result.value <= np.float32(eps))
    np.testing.assert_array_equal(result.images[~wins], batch[~wins])


def test_every_answer_is_of_a_query_and_no_sample_gets_more_than_its_share(convert: Convert) -> None:
    model, batch, seen = network(), images(8), []
    asked = np.zeros((8,), dtype=np.int64)

    def count(queried: Queried) -> None:
        seen.append(queried)
        np.add.at(asked, np.asarray(queried.rows), 1)

    budget = Budget()
    labels = convert(predicted(model, batch))
    query = untargeted(OneByOne(on(convert, model)), labels, loss=Loss.MARGIN, budget=budget).query
    radii = convert(np.full((8,), SOME_FLIP, dtype=np.float32))
    result = rays(query, convert(batch), eps=radii, queries=60, early_stop=True, on_query=count)
    assert [one.query for one in seen] == list(range(len(seen)))
    assert budget.forward_evaluations == asked.sum() and budget.gradient_evaluations == 0
    assert asked.max() == 60
    np.testing.assert_array_equal(asked < 60, np.asarray(result.adversarial))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 80), st.integers(0, 80))
def test_more_queries_never_find_less(seed: int, queries: int, more: int) -> None:
    model, batch = network(seed=seed % 7), images(4, seed=seed)
    few, many = (
        attack(np.asarray, model, batch, SOME_FLIP, queries=count) for count in (queries, queries + more)
    )
    assert np.all(many.value >= few.value) and np.all(many.adversarial >= few.adversarial)


def test_eps_0_gives_the_image_back(convert: Convert) -> None:
    batch = images(3)
    result = attack(convert, network(), batch, 0.0)
    np.testing.assert_array_equal(result.images, batch)
    assert not result.adversarial.any() and np.all(result.value < 0)


@pytest.mark.parametrize("early_stop", [False, True])
def test_the_order_of_the_batch_does_not_matter(convert: Convert, early_stop: bool) -> None:
    model, batch, order = network(), images(8), np.asarray([4, 2, 0, 5, 1, 3, 7, 6])
    whole, mixed = (
        attack(convert, model, part, SOME_FLIP, early_stop=early_stop) for part in (batch, batch[order])
    )
    assert 0 < whole.adversarial.sum() < 8
    same(mixed, whole, order)


def test_samples_are_searched_each_for_itself(convert: Convert) -> None:
    model, batch = network(), images(4)
    radii = np.asarray([0.0, 0.02, 0.04, 0.3], dtype=np.float32)
    together = attack(convert, model, batch, radii)
    for row in range(4):
        one = slice(row, row + 1)
        same(attack(convert, model, batch[one], radii[one]), together, one)


def test_compaction_does_not_change_what_flips_nor_what_is_left(convert: Convert) -> None:
    model, batch, seen = network(), images(12), []
    whole = attack(convert, model, batch, SOME_FLIP)
    compacted = attack(convert, model, batch, SOME_FLIP, early_stop=True, on_query=seen.append)
    assert 0 < whole.adversarial.sum() < 12
    np.testing.assert_array_equal(compacted.adversarial, whole.adversarial)
    same(AttackResult(*(part[~whole.adversarial] for part in compacted)), whole, ~whole.adversarial)
    sizes = [int(one.rows.shape[0]) for one in seen]
    assert sizes == sorted(sizes, reverse=True) and sizes[-1] == (~whole.adversarial).sum()


def test_numpy_and_torch_find_the_same() -> None:
    pytest.importorskip("torch")
    ours, theirs = (attack(convert, network(), images(8), SOME_FLIP) for convert in (np.asarray, to_torch))
    same(ours, theirs)


@dataclass(frozen=True)
class DecisionsOnly:
    """The same decisions, each as sure as any other, and no gradient."""

    model: Classifier

    def logits(self, batch: Array) -> Array:
        xp, logits = namespace(batch), OneByOne(self.model).logits(batch)
        classes = xp.argmax(logits, axis=1)[:, None]
        return xp.astype(classes == xp.arange(logits.shape[1])[None, :], logits.dtype)

    def gradient(self, batch: Array, labels: Array, targets: Array, losses: Array) -> Gradient:
        raise AssertionError("an attack by decisions asked for a gradient")


def test_it_looks_at_decisions_only(convert: Convert) -> None:
    model, batch = network(), images(8)
    by_logits, by_decisions = (
        attack(convert, model, batch, SOME_FLIP, seen_as=seen_as) for seen_as in (OneByOne, DecisionsOnly)
    )
    assert 0 < by_logits.adversarial.sum() < 8
    same(by_decisions, by_logits)

    labelled = untargeted(OneByOne(on(convert, model)), convert(predicted(model, batch)))

    def without_values(points: Array, rows: Array) -> Answer:
        answer = labelled.query(points, rows)
        return answer._replace(value=answer.value * np.nan)

    radii = convert(np.full((8,), SOME_FLIP, dtype=np.float32))
    blind = rays(without_values, convert(batch), eps=radii, queries=60)
    same(AttackResult(*(np.asarray(array) for array in blind)), by_logits)


def test_what_is_decided_otherwise_already_is_left_as_it_is(convert: Convert) -> None:
    model, batch, seen = network(), images(3), []
    labels = predicted(model, batch)
    labels[1] = (labels[1] + 1) % 5
    query = untargeted(OneByOne(on(convert, model)), convert(labels), loss=Loss.MARGIN).query
    radii = convert(np.full((3,), 0.0, dtype=np.float32))
    result = rays(query, convert(batch), eps=radii, queries=20, on_query=seen.append)
    np.testing.assert_array_equal(np.asarray(result.images), batch)
    assert np.asarray(result.adversarial).tolist() == [False, True, False]
    assert [np.asarray(one.rows).tolist() for one in seen] == [[0, 1, 2]] + [[0, 2]] * 19


def test_the_paper_s_blocks_are_turned_over_one_after_the_other() -> None:
    # Nothing ever flips, so each query shows a direction, at the largest radius there is.
    never, seen = Linear(np.zeros((2, 6), dtype=np.float32), np.asarray([1.0, 0.0], dtype=np.float32)), []
    batch = np.full((1, 1, 2, 3), 0.5, dtype=np.float32)
    result = attack(np.asarray, never, batch, 0.1, queries=18, on_query=seen.append)
    assert not result.adversarial[0] and result.value[0] == -np.inf
    np.testing.assert_array_equal(seen[0].images, batch)
    shown = ["".join("+" if value else "-" for value in flatten(one.images)[0]) for one in seen[1:]]
    halves, fours = ["---+++", "+++---"], ["--++++", "++--++", "++++--"]
    ones = ["-+++++", "+-++++", "++-+++", "+++-++", "++++-+", "+++++-"]
    assert shown == ["++++++", "------", *halves, *fours, *ones, "------", *halves, *fours][:17]


def test_a_budget_stops_it_with_what_it_has_found(convert: Convert) -> None:
    model, batch, asked = network(), images(4), iter([False] * 30 + [True] * 100)
    seen: list[Queried] = []
    budget = Budget(cancelled=lambda: next(asked))
    result = attack(convert, model, batch, 0.5, budget=budget, on_query=seen.append)
    assert budget.exhausted and len(seen) == 30
    same(result, attack(convert, model, batch, 0.5, queries=30))
    assert np.isfinite(result.value).any()


@pytest.mark.parametrize(
    ("options", "message"), [({"queries": 0}, "queries must be"), ({"tolerance": 0.0}, "tolerance must be")]
)
def test_what_it_cannot_do_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        attack(np.asarray, network(), images(1), 0.1, **options)
