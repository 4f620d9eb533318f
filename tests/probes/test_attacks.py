"""PGD: where it must end, and what must not change its result."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probes.arrays import Array
from probes.attacks.pgd import pgd
from probes.attacks.result import AttackResult, Step
from probes.ball import norms
from probes.budget import Budget
from probes.losses import Loss
from probes.objective import ClassifierObjective, Evaluation, untargeted
from probes.threat import L2, Linf, Threat
from tests.probes.models import (
    Convert,
    Linear,
    TwoLayer,
    grey,
    images,
    many_class,
    network,
    on,
    predicted,
    two_class,
)

THREATS = [Linf(), L2()]
SOME_FLIP = {"linf": 0.02, "l2": 0.12}
"""Radii at which some of the images flip and some do not."""
by_norm = pytest.mark.parametrize("threat", THREATS, ids=lambda threat: threat.norm)


def attack(
    convert: Convert, model: Linear | TwoLayer, batch: Array, eps: float, threat: Threat, **options: object
) -> AttackResult:
    """PGD against the predicted labels, the result as NumPy arrays."""
    labels = convert(predicted(model, batch))
    objective = untargeted(on(convert, model), labels, loss=Loss.MARGIN)
    radii = convert(np.full((len(batch),), eps, dtype=np.float32))
    settings = {"threat": threat, "eps": radii, "steps": 10, **options}
    result = pgd(objective, convert(batch), **settings)  # type: ignore[arg-type]
    return AttackResult(*(np.asarray(array) for array in result))


@by_norm
def test_pgd_ends_at_the_closed_form_optimum_of_a_linear_model(convert: Convert, threat: Threat) -> None:
    model, batch, eps = two_class(), grey()[None], 0.05
    difference = (model.weights[1] - model.weights[0]).astype(np.float64)
    dual = np.abs(difference).sum() if threat.norm == "linf" else np.sqrt((difference**2).sum())
    best = float(model.logits(batch)[0, 1] - model.logits(batch)[0, 0]) + eps * dual
    result = attack(convert, model, batch, eps, threat, steps=20, random_start=False)
    assert result.value[0] == pytest.approx(best, abs=1e-4)
    assert bool(result.adversarial[0]) == (best > 0)


@by_norm
def test_pgd_ends_at_the_optimum_where_the_box_cuts_the_ball(convert: Convert, threat: Threat) -> None:
    # At a black image only increases are admissible, so only the weights that want them count.
    model, batch, eps = two_class(), np.zeros((1, 3, 4, 4), dtype=np.float32), 0.05
    label = int(predicted(model, batch)[0])
    difference = (model.weights[1 - label] - model.weights[label]).astype(np.float64)
    useful = np.maximum(difference, 0.0)
    dual = useful.sum() if threat.norm == "linf" else np.sqrt((useful**2).sum())
    logits = model.logits(batch)[0]
    best = float(logits[1 - label] - logits[label]) + eps * dual
    result = attack(convert, model, batch, eps, threat, steps=60, restarts=2)
    assert result.value[0] == pytest.approx(best, rel=2e-3)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.floats(0, 0.5, width=32), st.sampled_from(THREATS), st.integers(1, 6))
def test_results_lie_in_the_ball_and_in_the_box(seed: int, eps: float, threat: Threat, steps: int) -> None:
    model, batch = network(seed=seed % 5), images(3, seed=seed)
    result = attack(np.asarray, model, batch, eps, threat, steps=steps, restarts=2, seed=seed)
    assert np.all(norms(result.images - batch, threat.norm) <= eps + 1e-6)
    assert np.all((result.images >= 0) & (result.images <= 1))
    wins = predicted(model, result.images) != predicted(model, batch)
    np.testing.assert_array_equal(result.adversarial, wins)


@by_norm
def test_eps_0_gives_the_image_back(convert: Convert, threat: Threat) -> None:
    batch = images(3)
    result = attack(convert, network(), batch, 0.0, threat, restarts=2)
    np.testing.assert_array_equal(result.images, batch)
    assert not result.adversarial.any()


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


@by_norm
@pytest.mark.parametrize("early_stop", [False, True])
def test_the_order_of_the_batch_does_not_matter(convert: Convert, threat: Threat, early_stop: bool) -> None:
    model, batch, order = network(), images(6), np.asarray([4, 2, 0, 5, 1, 3])
    options = {"restarts": 3, "early_stop": early_stop}
    whole = attack(
        convert, model, batch, SOME_FLIP[threat.norm], threat, samples=convert(np.arange(6)), **options
    )
    mixed = attack(
        convert, model, batch[order], SOME_FLIP[threat.norm], threat, samples=convert(order), **options
    )
    assert 0 < whole.adversarial.sum() < 6
    np.testing.assert_array_equal(mixed.adversarial, whole.adversarial[order])
    np.testing.assert_allclose(mixed.images, whole.images[order], atol=2e-6)


@by_norm
def test_compaction_does_not_change_what_flips_nor_what_is_left(convert: Convert, threat: Threat) -> None:
    model, batch = network(), images(12)
    whole = attack(convert, model, batch, SOME_FLIP[threat.norm], threat, restarts=3)
    compacted = attack(convert, model, batch, SOME_FLIP[threat.norm], threat, restarts=3, early_stop=True)
    assert 0 < whole.adversarial.sum() < 12
    np.testing.assert_array_equal(compacted.adversarial, whole.adversarial)
    held = ~whole.adversarial
    np.testing.assert_allclose(compacted.images[held], whole.images[held], atol=2e-6)


@by_norm
def test_early_stopping_evaluates_a_finished_sample_no_more(convert: Convert, threat: Threat) -> None:
    model, batch = network(), images(12)
    evaluated: list[int] = []
    attack(
        convert,
        model,
        batch,
        2.0 if threat.norm == "l2" else 0.3,
        threat,
        early_stop=True,
        restarts=3,
        on_step=lambda step: evaluated.append(int(step.rows.shape[0])),
    )
    assert evaluated == sorted(evaluated, reverse=True)
    assert sum(evaluated) < 12 * 11


@by_norm
def test_numpy_and_torch_find_the_same(threat: Threat) -> None:
    torch = pytest.importorskip("torch")
    model, batch = network(), images(8)
    ours = attack(np.asarray, model, batch, SOME_FLIP[threat.norm], threat, restarts=2, seed=3)
    theirs = attack(
        lambda array: torch.from_numpy(np.array(array)),
        model,
        batch,
        SOME_FLIP[threat.norm],
        threat,
        restarts=2,
        seed=3,
    )
    np.testing.assert_array_equal(ours.adversarial, theirs.adversarial)
    np.testing.assert_allclose(ours.images, theirs.images, atol=1e-5)


def test_per_sample_eps_equals_one_attack_each(convert: Convert) -> None:
    model, batch = network(), images(3)
    radii = np.asarray([0.0, 0.01, 0.05], dtype=np.float32)
    labels = convert(predicted(model, batch))
    together = pgd(
        untargeted(on(convert, model), labels), convert(batch), threat=Linf(), eps=convert(radii), steps=5
    )
    for row in range(3):
        one = slice(row, row + 1)
        alone = pgd(
            untargeted(on(convert, model), labels[one]),
            convert(batch[one]),
            threat=Linf(),
            eps=convert(radii[one]),
            steps=5,
            samples=convert(np.asarray([row])),
        )
        np.testing.assert_allclose(np.asarray(together.images[one]), np.asarray(alone.images), atol=2e-6)


def test_a_targeted_attack_ends_at_its_target(convert: Convert) -> None:
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
    radii = convert(np.full((6,), 0.5, dtype=np.float32))
    result = pgd(objective, convert(batch), threat=Linf(), eps=radii, steps=20)
    reached = predicted(model, np.asarray(result.images)) == targets
    assert reached.any()
    np.testing.assert_array_equal(np.asarray(result.adversarial), reached)


def test_the_point_after_the_last_step_is_evaluated(convert: Convert) -> None:
    steps: list[Step] = []
    attack(convert, network(), images(1), 0.01, Linf(), steps=4, on_step=steps.append)
    assert [step.step for step in steps] == [0, 1, 2, 3, 4]


@by_norm
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


@pytest.mark.parametrize(("steps", "restarts"), [(0, 1), (1, 0)])
def test_an_attack_needs_a_step_and_a_restart(steps: int, restarts: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        attack(np.asarray, network(), images(1), 0.1, Linf(), steps=steps, restarts=restarts)
