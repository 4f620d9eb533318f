"""Auto-PGD: where it must end, its schedule, and what must not change its result."""

from __future__ import annotations

import numpy as np
import pytest

from probes.arrays import Array
from probes.attacks.apgd import apgd, checkpoints
from probes.attacks.pgd import pgd
from probes.attacks.result import Step
from probes.budget import Budget
from probes.losses import Loss
from probes.objective import ClassifierObjective, Evaluation, untargeted
from probes.threat import Linf, Threat
from tests.probes.attacking import APGD, threats
from tests.probes.models import (
    Convert,
    grey,
    images,
    many_class,
    network,
    on,
    predicted,
    steepest_climb,
    two_class,
)

attack = APGD


@threats
@pytest.mark.parametrize("brightness", [0.5, 0.0], ids=["ball", "ball cut by the box"])
def test_it_ends_at_the_closed_form_optimum_of_a_linear_model(
    convert: Convert, threat: Threat, brightness: float
) -> None:
    model, batch = two_class(), np.full_like(grey()[None], brightness)
    eps = 2.0 if threat.norm == "l1" else 0.05
    logits = model.logits(batch)[0]
    best = float(logits.min() - logits.max()) + steepest_climb(model, batch[0], eps, threat.norm)
    result = attack(convert, model, batch, eps, threat, steps=50)
    assert result.value[0] == pytest.approx(best, rel=1e-3)
    assert result.value[0] <= best + 1e-4


@threats
@pytest.mark.parametrize("loss", list(Loss))
def test_it_climbs_no_less_than_pgd_on_every_loss(threat: Threat, loss: Loss) -> None:
    model, batch = network(), images(40)
    radii = np.full((40,), {"linf": 0.04, "l2": 0.24, "l1": 0.8}[threat.norm], dtype=np.float32)
    auto = attack(np.asarray, model, batch, float(radii[0]), threat, steps=30, loss=loss)
    plain = pgd(
        untargeted(model, predicted(model, batch), loss=loss), batch, threat=threat, eps=radii, steps=30
    )
    # DLR has no upper end: where two logits tie, one image would outweigh all others.
    assert np.minimum(auto.value, 1.0).mean() >= np.minimum(plain.value, 1.0).mean() - 1e-4
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


def test_steps_are_judged_by_what_is_climbed_and_points_by_their_value(convert: Convert) -> None:
    # The loss peaks at 0.55; the value falls all the way there.
    def objective(points: Array, rows: Array) -> Evaluation:
        place = points[:, 0, 0, 0]
        return Evaluation(-place, 0.55 - points, place < 0, -abs(place - 0.55))

    seen: list[Step] = []
    result = apgd(
        objective,
        convert(np.full((1, 1, 1, 1), 0.5, dtype=np.float32)),
        threat=Linf(),
        eps=convert(np.full((1,), 0.1, dtype=np.float32)),
        steps=60,
        random_start=False,
        on_step=seen.append,
    )
    points = [float(step.images[0, 0, 0, 0]) for step in seen]
    assert points[-1] == pytest.approx(0.55, abs=2e-3)
    assert float(result.images[0, 0, 0, 0]) == min(points)


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


def test_a_start_is_projected_and_evaluated_first(convert: Convert) -> None:
    batch, seen = images(2), []
    start = convert(np.clip(batch + 0.5, 0.0, 1.0))
    attack(convert, network(), batch, 0.1, Linf(), start=start, steps=1, on_step=seen.append)
    expected = np.clip(batch + np.minimum(np.asarray(start) - batch, 0.1), 0.0, 1.0)
    np.testing.assert_allclose(np.asarray(seen[0].images), expected, atol=1e-6)
