"""Auto-PGD: where it must end, its schedule, and what must not change its result."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probes.arrays import Array
from probes.attacks.apgd import apgd, checkpoints
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
    OneByOne,
    TwoLayer,
    grey,
    images,
    many_class,
    network,
    on,
    predicted,
    to_torch,
    two_class,
)

THREATS = [Linf(), L2()]
SOME_FLIP = {"linf": 0.02, "l2": 0.12}
"""Radii at which some of the images flip and some do not."""
by_norm = pytest.mark.parametrize("threat", THREATS, ids=lambda threat: threat.norm)


def attack(
    convert: Convert,
    model: Linear | TwoLayer,
    batch: Array,
    eps: float,
    threat: Threat,
    *,
    loss: Loss = Loss.MARGIN,
    **options: object,
) -> AttackResult:
    """Auto-PGD against the predicted labels, the result as NumPy arrays."""
    objective = untargeted(OneByOne(on(convert, model)), convert(predicted(model, batch)), loss=loss)
    radii = convert(np.full((len(batch),), eps, dtype=np.float32))
    settings = {"threat": threat, "eps": radii, "steps": 10, **options}
    result = apgd(objective, convert(batch), **settings)  # type: ignore[arg-type]
    return AttackResult(*(np.asarray(array) for array in result))


@by_norm
@pytest.mark.parametrize("brightness", [0.5, 0.0], ids=["ball", "ball cut by the box"])
def test_it_ends_at_the_closed_form_optimum_of_a_linear_model(
    convert: Convert, threat: Threat, brightness: float
) -> None:
    model, batch, eps = two_class(), np.full_like(grey()[None], brightness), 0.05
    label = int(predicted(model, batch)[0])
    useful = (model.weights[1 - label] - model.weights[label]).astype(np.float64)
    if brightness == 0.0:
        # From black only increases are admissible.
        useful = np.maximum(useful, 0.0)
    dual = np.abs(useful).sum() if threat.norm == "linf" else np.sqrt((useful**2).sum())
    logits = model.logits(batch)[0]
    best = float(logits[1 - label] - logits[label]) + eps * dual
    result = attack(convert, model, batch, eps, threat, steps=50)
    assert result.value[0] == pytest.approx(best, rel=1e-3)
    assert result.value[0] <= best + 1e-4


@by_norm
@pytest.mark.parametrize("loss", list(Loss))
def test_it_climbs_no_less_than_pgd_on_every_loss(threat: Threat, loss: Loss) -> None:
    model, batch = network(), images(40)
    radii = np.full((40,), 2 * SOME_FLIP[threat.norm], dtype=np.float32)
    auto = attack(np.asarray, model, batch, float(radii[0]), threat, steps=30, loss=loss)
    plain = pgd(
        untargeted(model, predicted(model, batch), loss=loss), batch, threat=threat, eps=radii, steps=30
    )
    assert auto.value.mean() >= plain.value.mean() - 1e-4
    assert auto.adversarial.sum() >= plain.adversarial.sum()


def test_checkpoints_are_those_of_the_paper() -> None:
    assert checkpoints(100) == (0, 22, 41, 57, 70, 80, 87, 93, 99)
    assert checkpoints(10) == (0, 3, 5, 6, 7, 8, 9, 10)
    assert checkpoints(1) == (0, 1)


def test_a_step_that_only_overshoots_is_halved_and_retried_from_the_best_point(convert: Convert) -> None:
    # Climbing -|x - 0.55| from 0.5: a step of 0.2 (2 eps, cut to 0.1) jumps to and fro across the peak.
    def objective(points: Array, rows: Array) -> Evaluation:
        distance = points - 0.55
        value = -abs(distance)[:, 0, 0, 0]
        return Evaluation(value, -distance, value > 0)

    batch = np.full((1, 1, 1, 1), 0.5, dtype=np.float32)
    seen: list[Step] = []
    result = apgd(
        objective,
        convert(batch),
        threat=Linf(),
        eps=convert(np.full((1,), 0.1, dtype=np.float32)),
        steps=60,
        random_start=False,
        on_step=seen.append,
    )
    points = [float(step.images[0, 0, 0, 0]) for step in seen]
    assert points[1] == pytest.approx(0.6)
    moves = np.abs(np.diff(points))
    assert moves[:14].max() > 0.05 and moves[-2:].max() < 0.01
    assert float(result.images[0, 0, 0, 0]) == pytest.approx(0.55, abs=2e-3)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.floats(0, 0.5, width=32), st.sampled_from(THREATS), st.integers(1, 8))
def test_results_lie_in_the_ball_and_in_the_box(seed: int, eps: float, threat: Threat, steps: int) -> None:
    model, batch = network(seed=seed % 5), images(3, seed=seed)
    result = attack(np.asarray, model, batch, eps, threat, steps=steps, restarts=2, seed=seed)
    assert np.all(norms(result.images - batch, threat.norm) <= eps + 1e-6)
    assert np.all((result.images >= 0) & (result.images <= 1))
    wins = predicted(model, result.images) != predicted(model, batch)
    np.testing.assert_array_equal(result.adversarial, wins)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from(THREATS), st.integers(1, 10))
def test_more_restarts_never_find_less(seed: int, threat: Threat, steps: int) -> None:
    model, batch = network(seed=seed % 7), images(4, seed=seed)
    few = attack(np.asarray, model, batch, 0.04, threat, steps=steps)
    many = attack(np.asarray, model, batch, 0.04, threat, steps=steps, restarts=3)
    assert np.all(many.value >= few.value)
    assert np.all(many.adversarial >= few.adversarial)


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
    options = {"restarts": 3, "early_stop": early_stop}
    eps = SOME_FLIP[threat.norm]
    whole = attack(convert, model, batch, eps, threat, samples=convert(np.arange(6)), **options)
    mixed = attack(convert, model, batch[order], eps, threat, samples=convert(order), **options)
    assert 0 < whole.adversarial.sum() < 6
    np.testing.assert_array_equal(mixed.adversarial, whole.adversarial[order])
    np.testing.assert_array_equal(mixed.images, whole.images[order])


@by_norm
def test_compaction_does_not_change_what_flips_nor_what_is_left(convert: Convert, threat: Threat) -> None:
    model, batch, evaluated = network(), images(12), []
    eps = SOME_FLIP[threat.norm]
    whole = attack(convert, model, batch, eps, threat, restarts=3)
    compacted = attack(
        convert, model, batch, eps, threat, restarts=3, early_stop=True, on_step=evaluated.append
    )
    assert 0 < whole.adversarial.sum() < 12
    np.testing.assert_array_equal(compacted.adversarial, whole.adversarial)
    held = ~whole.adversarial
    np.testing.assert_array_equal(compacted.images[held], whole.images[held])
    sizes = [int(step.rows.shape[0]) for step in evaluated]
    assert sizes == sorted(sizes, reverse=True) and sizes[-1] == held.sum()


@by_norm
def test_numpy_and_torch_find_the_same(threat: Threat) -> None:
    pytest.importorskip("torch")
    model, batch, eps = network(), images(8), SOME_FLIP[threat.norm]
    ours = attack(np.asarray, model, batch, eps, threat, restarts=2, seed=3)
    theirs = attack(to_torch, model, batch, eps, threat, restarts=2, seed=3)
    np.testing.assert_array_equal(ours.adversarial, theirs.adversarial)
    # Images are not compared: near the top rounding decides which of two equal points was better.
    np.testing.assert_allclose(ours.value, theirs.value, atol=1e-5)


@pytest.mark.parametrize("loss", list(Loss))
def test_a_targeted_attack_ends_at_its_target(convert: Convert, loss: Loss) -> None:
    model, batch = many_class(), images(6)
    labels = predicted(model, batch)
    targets = (labels + 2) % 5
    objective = ClassifierObjective(
        classifier=on(convert, model),
        labels=convert(labels),
        targets=convert(targets),
        losses=convert(np.full((6,), int(loss))),
        budget=Budget(),
    )
    radii = convert(np.full((6,), 0.5, dtype=np.float32))
    result = apgd(objective, convert(batch), threat=Linf(), eps=radii, steps=20)
    reached = predicted(model, np.asarray(result.images)) == targets
    assert reached.sum() >= 4
    np.testing.assert_array_equal(np.asarray(result.adversarial), reached)


def test_per_sample_eps_equals_one_attack_each() -> None:
    model, batch = network(), images(3)
    radii = np.asarray([0.0, 0.01, 0.05], dtype=np.float32)
    model, labels = OneByOne(model), predicted(model, batch)
    together = apgd(untargeted(model, labels), batch, threat=L2(), eps=radii, steps=12)
    for row in range(3):
        one = slice(row, row + 1)
        alone = apgd(
            untargeted(model, labels[one]),
            batch[one],
            threat=L2(),
            eps=radii[one],
            steps=12,
            samples=np.asarray([row]),
        )
        np.testing.assert_array_equal(together.images[one], alone.images)


def test_a_start_is_projected_and_evaluated_first(convert: Convert) -> None:
    batch, seen = images(2), []
    start = convert(np.clip(batch + 0.5, 0.0, 1.0))
    attack(convert, network(), batch, 0.1, Linf(), start=start, steps=1, on_step=seen.append)
    expected = np.clip(batch + np.minimum(np.asarray(start) - batch, 0.1), 0.0, 1.0)
    np.testing.assert_allclose(np.asarray(seen[0].images), expected, atol=1e-6)


def test_a_budget_stops_it_with_what_it_has_found() -> None:
    model, batch, asked = network(), images(4), iter([False] * 7 + [True] * 100)
    budget = Budget(cancelled=lambda: next(asked))
    objective = untargeted(model, predicted(model, batch), budget=budget)
    radii = np.full((4,), 0.05, dtype=np.float32)
    result = apgd(objective, batch, threat=Linf(), eps=radii, steps=20, restarts=3, budget=budget)
    assert budget.exhausted and budget.gradient_evaluations == 4 * 7
    assert np.isfinite(result.value).all()


@pytest.mark.parametrize(("steps", "restarts"), [(0, 1), (1, 0)])
def test_an_attack_needs_a_step_and_a_restart(steps: int, restarts: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        attack(np.asarray, network(), images(1), 0.1, Linf(), steps=steps, restarts=restarts)
