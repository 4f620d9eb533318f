"""The fast minimum-norm attack: the distances it must find, and what must not change them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probes.arrays import Array
from probes.attacks.fmn import fmn
from probes.ball import norms
from probes.budget import Budget
from probes.losses import Loss
from probes.objective import ClassifierObjective, Evaluation, untargeted
from probes.threat import L2, DenseL1, Linf, Threat
from tests.probes.attacking import THREATS, nearest, threats
from tests.probes.models import (
    Convert,
    OneByOne,
    grey,
    images,
    linear_distance,
    many_class,
    network,
    on,
    predicted,
    two_class,
)


@pytest.mark.parametrize("threat", [*THREATS, DenseL1()], ids=repr)
@pytest.mark.parametrize("steps", [30, 200])
@pytest.mark.parametrize("margin", [0.05, 1.0])
def test_it_finds_the_distance_of_a_linear_model(
    convert: Convert, threat: Threat, steps: int, margin: float
) -> None:
    model, batch = two_class(margin=margin), grey()[None]
    distance = linear_distance(model, batch[0], threat.norm)
    result = nearest(convert, model, batch, threat, steps=steps)
    assert result.adversarial[0]
    assert distance * (1 - 1e-4) <= result.size[0] <= distance * 1.01


def test_it_finds_the_distance_where_the_box_cuts_the_ball(convert: Convert) -> None:
    # Each threat's distance from black: only the weights that want an increase are of use.
    model, batch = two_class(margin=0.2), np.zeros((1, 3, 4, 4), dtype=np.float32)
    label = int(predicted(model, batch)[0])
    useful = np.maximum((model.weights[1 - label] - model.weights[label]).astype(np.float64), 0.0)
    logits = model.logits(batch).astype(np.float64)[0]
    lead = logits[label] - logits[1 - label]
    linf, l2 = nearest(convert, model, batch, Linf()), nearest(convert, model, batch, L2(), steps=100)
    for result, distance in ((linf, lead / useful.sum()), (l2, lead / np.sqrt((useful**2).sum()))):
        assert distance < 1.0
        assert distance * (1 - 1e-4) <= result.size[0] <= distance * 1.01


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from(THREATS), st.integers(1, 30))
def test_what_it_returns_is_what_it_says(seed: int, threat: Threat, steps: int) -> None:
    model, batch = network(seed=seed % 5), images(3, seed=seed)
    result = nearest(np.asarray, model, batch, threat, steps=steps)
    assert np.all((result.images >= 0) & (result.images <= 1))
    found = result.adversarial
    # One at a time, as the attack asked: on the boundary itself the last bit decides.
    wins = predicted(OneByOne(model), result.images) != predicted(model, batch)
    np.testing.assert_array_equal(found, wins)
    sizes = norms(result.images - batch, threat.norm)
    np.testing.assert_allclose(result.size[found], sizes[found], rtol=1e-5)
    assert np.all(np.isinf(result.size[~found])) and np.all(sizes[~found] == 0)


@threats
def test_every_image_of_a_network_is_reached_and_longer_searches_come_nearer(
    convert: Convert, threat: Threat
) -> None:
    model, batch = network(), images(40)
    short, long = (nearest(convert, model, batch, threat, steps=steps) for steps in (20, 200))
    assert short.adversarial.all() and long.adversarial.all()
    assert np.median(short.size) <= 1.02 * np.median(long.size)
    assert np.all(long.size <= 1.02 * short.size)


@threats
def test_an_image_that_is_already_misclassified_has_distance_0(convert: Convert, threat: Threat) -> None:
    model, batch = network(), images(4)
    wrong = convert((predicted(model, batch) + 1) % 5)
    objective = untargeted(on(convert, model), wrong, loss=Loss.MARGIN)
    result = fmn(objective, convert(batch), threat=threat, steps=5)
    assert np.asarray(result.adversarial).all() and not np.asarray(result.size).any()
    np.testing.assert_array_equal(np.asarray(result.images), batch)


def test_a_targeted_search_ends_at_its_target(convert: Convert) -> None:
    model, batch = many_class(), images(6)
    labels = predicted(model, batch)
    targets = (labels + 2) % 5
    objective = ClassifierObjective(
        classifier=on(convert, model),
        labels=convert(labels),
        targets=convert(targets),
        losses=convert(np.full((6,), int(Loss.MARGIN))),
        budget=Budget(),
    )
    result = fmn(objective, convert(batch), threat=Linf(), steps=50)
    assert np.asarray(result.adversarial).all()
    np.testing.assert_array_equal(predicted(model, np.asarray(result.images)), targets)
    anywhere = nearest(convert, model, batch, Linf())
    assert np.all(np.asarray(result.size) >= anywhere.size * 0.99)


@threats
def test_a_start_that_is_adversarial_is_never_left_for_a_farther_one(
    convert: Convert, threat: Threat
) -> None:
    model, batch = network(), images(6)
    first = nearest(convert, model, batch, threat, steps=10)
    again = nearest(convert, model, batch, threat, steps=10, start=convert(first.images))
    assert np.all(again.size <= first.size)


def test_a_model_without_gradient_or_with_nan_finds_nothing_and_stays_in_the_box(convert: Convert) -> None:
    batch, seen = images(2), []

    def silent(points: Array, rows: Array) -> Evaluation:
        value = convert(np.asarray([-1.0, np.nan], dtype=np.float32))
        return Evaluation(value, points * convert(np.asarray(0.0, dtype=np.float32)), value > 0)

    for threat in THREATS:
        result = fmn(silent, convert(batch), threat=threat, steps=3, on_step=seen.append)
        assert not np.asarray(result.adversarial).any() and np.isinf(np.asarray(result.size)).all()
    for step in seen:
        np.testing.assert_array_equal(np.asarray(step.images), batch)


def test_a_budget_stops_it_with_what_it_has_found() -> None:
    model, batch, asked = network(), images(4), iter([False] * 12 + [True] * 100)
    budget = Budget(cancelled=lambda: next(asked))
    objective = untargeted(model, predicted(model, batch), loss=Loss.MARGIN, budget=budget)
    result = fmn(objective, batch, threat=Linf(), steps=50, budget=budget)
    assert budget.exhausted and budget.gradient_evaluations == 4 * 12
    assert result.adversarial.all()


def test_a_search_needs_a_step() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        nearest(np.asarray, network(), images(1), Linf(), steps=0)
