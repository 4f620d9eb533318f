"""Square: what it may find by queries alone, its moves, and what must not change its result."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest

from probes.arrays import Array
from probes.attacks.square import square
from probes.attacks.square_moves import bump
from probes.budget import Budget
from probes.losses import Loss
from probes.objective import untargeted
from probes.threat import Linf, Threat
from tests.probes.attacking import SQUARE, threats
from tests.probes.models import (
    Convert,
    Linear,
    grey,
    images,
    linear_distance,
    network,
    predicted,
    two_class,
)

attack = SQUARE


@threats
@pytest.mark.parametrize("seed", range(3))
def test_it_never_beats_the_closed_form_and_succeeds_well_beyond_it(
    convert: Convert, threat: Threat, seed: int
) -> None:
    model, batch = two_class(seed=seed, margin=0.5), grey()[None]
    distance = linear_distance(model, batch[0], threat.norm)
    for factor in (0.5, 0.99):
        assert not attack(convert, model, batch, distance * factor, threat, queries=100).adversarial[0]
    assert attack(convert, model, batch, 3.0 * distance, threat, queries=200).adversarial[0]


def test_single_pixels_lead_to_the_optimum_of_a_linear_model() -> None:
    # With squares of one pixel the search is coordinate ascent, which ends at the corner of the cube.
    model, batch, eps = two_class(), grey()[None], 0.01
    result = attack(np.asarray, model, batch, eps, Linf(), queries=800, first_share=1 / 16)
    difference = (model.weights[1] - model.weights[0]).astype(np.float64)
    lead = model.logits(batch)[0]
    best = float(lead[1] - lead[0]) + eps * np.abs(difference).sum()
    assert result.value[0] == pytest.approx(best, abs=1e-4)


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
@pytest.mark.parametrize("power", [1, 2])
def test_a_bump_has_norm_1_and_two_signs(side: int, power: Literal[1, 2]) -> None:
    pattern = bump(side, power)
    assert np.sum(np.abs(pattern.astype(np.float64)) ** power) == pytest.approx(1.0, rel=1e-5)
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
