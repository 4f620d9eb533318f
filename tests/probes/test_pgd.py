"""PGD: where it must end, and what must not change its result."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probes.arrays import Array
from probes.attacks.pgd import pgd
from probes.attacks.result import Step
from probes.objective import Evaluation
from probes.threat import Linf, Threat
from tests.probes.attacking import PGD, THREATS, threats
from tests.probes.models import (
    Convert,
    grey,
    images,
    network,
    steepest_climb,
    two_class,
)

attack = PGD


@threats
@pytest.mark.parametrize("brightness", [0.5, 0.0], ids=["ball", "ball cut by the box"])
def test_pgd_ends_near_the_closed_form_optimum_of_a_linear_model(
    convert: Convert, threat: Threat, brightness: float
) -> None:
    model, batch = two_class(), np.full_like(grey()[None], brightness)
    eps = 2.0 if threat.norm == "l1" else 0.05
    logits, climb = model.logits(batch)[0], steepest_climb(model, batch[0], eps, threat.norm)
    best = float(logits.min() - logits.max()) + climb
    result = attack(convert, model, batch, eps, threat, steps=60, random_start=False)
    # Steps of one size end within a step of the optimum; in l1 a step is a sixth of the ball.
    assert best - (0.05 if threat.norm == "l1" else 2e-3) * climb <= result.value[0] <= best + 1e-4
    assert bool(result.adversarial[0]) == (best > 0)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from(THREATS), st.integers(1, 8), st.integers(1, 8))
def test_more_steps_of_one_size_and_more_restarts_never_find_less(
    seed: int, threat: Threat, steps: int, more: int
) -> None:
    model, batch = network(seed=seed % 7), images(4, seed=seed)
    size = np.full((4,), 0.01, dtype=np.float32)
    few = attack(np.asarray, model, batch, 0.04, threat, steps=steps, step_size=size)
    many = attack(np.asarray, model, batch, 0.04, threat, steps=steps + more, step_size=size)
    again = attack(np.asarray, model, batch, 0.04, threat, steps=steps, step_size=size, restarts=2)
    for other in (many, again):
        assert np.all(other.value >= few.value)
        assert np.all(other.adversarial >= few.adversarial)


def test_the_point_after_the_last_step_is_evaluated(convert: Convert) -> None:
    steps: list[Step] = []
    attack(convert, network(), images(1), 0.01, Linf(), steps=4, on_step=steps.append)
    assert [step.step for step in steps] == [0, 1, 2, 3, 4]


@threats
def test_the_last_point_is_where_all_steps_lead_and_is_not_evaluated(
    convert: Convert, threat: Threat
) -> None:
    evaluated: list[Step] = []
    last = attack(convert, network(), images(4), 0.05, threat, steps=3, keep="last", on_step=evaluated.append)
    further: list[Step] = []
    attack(convert, network(), images(4), 0.05, threat, steps=3, on_step=further.append)
    assert [step.step for step in evaluated] == [0, 1, 2]
    np.testing.assert_array_equal(last.images, np.asarray(further[3].images))
    assert not np.asarray(last.adversarial).any() and np.isneginf(np.asarray(last.value)).all()


def test_the_last_point_goes_with_one_start_and_all_steps() -> None:
    for options in ({"restarts": 2}, {"early_stop": True}):
        with pytest.raises(ValueError, match="no use for restarts or early_stop"):
            attack(np.asarray, network(), images(1), 0.1, Linf(), keep="last", **options)


def test_gradients_that_are_not_finite_move_nothing(convert: Convert) -> None:
    batch = images(2)

    def objective(points: Array, rows: Array) -> Evaluation:
        value = convert(np.zeros((2,), dtype=np.float32))
        return Evaluation(value, points * float("nan"), value > 0)

    radii = convert(np.full((2,), 0.1, dtype=np.float32))
    seen: list[Array] = []
    pgd(
        objective,
        convert(batch),
        threat=Linf(),
        eps=radii,
        steps=2,
        random_start=False,
        on_step=lambda step: seen.append(np.asarray(step.images)),
    )
    for points in seen:
        np.testing.assert_array_equal(points, batch)
