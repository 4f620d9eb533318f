"""What holds for every attack in every threat model: order, compaction, balls, seeds, budgets."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probes.arrays import Array
from probes.attacks.fmn import Nearest
from probes.attacks.result import AttackResult
from probes.ball import norms
from probes.budget import Budget
from probes.losses import Loss
from probes.objective import ClassifierObjective
from probes.threat import Linf, Threat
from tests.probes.attacking import APGD, ATTACKS, PGD, THREATS, InBall, attacks, nearest, threats
from tests.probes.models import (
    Convert,
    Linear,
    OneByOne,
    images,
    many_class,
    network,
    on,
    predicted,
    to_torch,
)


def same(found: AttackResult | Nearest, other: AttackResult | Nearest, rows: Any = slice(None)) -> None:
    """All that was found for the rows of the second is what was found for the first, to the bit."""
    for mine, theirs in zip(found, other, strict=True):
        np.testing.assert_array_equal(mine, theirs[rows])


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(ATTACKS),
    st.sampled_from(THREATS),
    st.integers(0, 2**31),
    st.floats(0, 0.5, width=32),
    st.integers(1, 8),
)
def test_all_points_lie_in_the_ball_and_in_the_box(
    attack: InBall, threat: Threat, seed: int, share: float, length: int
) -> None:
    eps = share * (10.0 if threat.norm == "l1" else 1.0)
    model, batch, seen = network(seed=seed % 5), images(3, seed=seed), []
    options = {attack.length: length, "restarts": 2, "seed": seed, "watch": seen.append}
    result = attack(np.asarray, model, batch, eps, threat, **options)
    assert len(seen) == 2 * (length if attack.queries else length + 1)
    for points in [one.images for one in seen] + [result.images]:
        assert np.all(norms(points - batch, threat.norm) <= eps + 1e-6 * max(1.0, eps))
        assert np.all((points >= 0) & (points <= 1))
    wins = predicted(OneByOne(model), result.images) != predicted(model, batch)
    np.testing.assert_array_equal(result.adversarial, wins)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(ATTACKS), st.sampled_from(THREATS), st.integers(0, 2**31), st.integers(1, 10))
def test_more_restarts_never_find_less(attack: InBall, threat: Threat, seed: int, length: int) -> None:
    model, batch = network(seed=seed % 7), images(4, seed=seed)
    few, many = (
        attack(np.asarray, model, batch, 0.04, threat, restarts=restarts, **{attack.length: length})
        for restarts in (1, 3)
    )
    assert np.all(many.value >= few.value) and np.all(many.adversarial >= few.adversarial)


@attacks
@threats
def test_eps_0_gives_the_image_back(convert: Convert, attack: InBall, threat: Threat) -> None:
    batch = images(3)
    result = attack(convert, network(), batch, 0.0, threat, restarts=2)
    np.testing.assert_array_equal(result.images, batch)
    assert not result.adversarial.any()


@attacks
@threats
@pytest.mark.parametrize("early_stop", [False, True])
def test_the_order_of_the_batch_does_not_matter(
    convert: Convert, attack: InBall, threat: Threat, early_stop: bool
) -> None:
    model, batch, order = network(), images(8), np.asarray([4, 2, 0, 5, 1, 3, 7, 6])
    options = {"restarts": 2, "early_stop": early_stop}
    eps = attack.some_flip[threat.norm]
    whole = attack(convert, model, batch, eps, threat, samples=convert(np.arange(8)), **options)
    mixed = attack(convert, model, batch[order], eps, threat, samples=convert(order), **options)
    assert 0 < whole.adversarial.sum() < 8
    same(mixed, whole, order)


@attacks
@threats
def test_compaction_does_not_change_what_flips_nor_what_is_left(
    convert: Convert, attack: InBall, threat: Threat
) -> None:
    model, batch, seen = network(), images(12), []
    eps = attack.some_flip[threat.norm]
    options = {"restarts": 2, attack.length: attack.many_steps}
    whole = attack(convert, model, batch, eps, threat, **options)
    compacted = attack(convert, model, batch, eps, threat, early_stop=True, watch=seen.append, **options)
    assert 0 < whole.adversarial.sum() < 12
    np.testing.assert_array_equal(compacted.adversarial, whole.adversarial)
    held = ~whole.adversarial
    np.testing.assert_array_equal(compacted.images[held], whole.images[held])
    sizes = [int(one.rows.shape[0]) for one in seen]
    assert sizes == sorted(sizes, reverse=True) and sizes[-1] == held.sum()


@attacks
@threats
def test_per_sample_eps_equals_one_attack_each(attack: InBall, threat: Threat) -> None:
    model, batch = network(), images(3)
    radii = np.asarray([0.0, 0.5, 2.0], dtype=np.float32) * attack.some_flip[threat.norm]
    together = attack(np.asarray, model, batch, radii, threat)
    for row in range(3):
        one = slice(row, row + 1)
        alone = attack(np.asarray, model, batch[one], radii[one], threat, samples=np.asarray([row]))
        same(alone, together, one)


@attacks
@threats
def test_a_seed_repeats_and_another_one_differs(attack: InBall, threat: Threat) -> None:
    model, batch, seen = network(), images(3), []
    eps = attack.some_flip[threat.norm]
    first, again, _ = (
        attack(np.asarray, model, batch, eps, threat, seed=seed, watch=seen.append) for seed in (1, 1, 2)
    )
    same(again, first)
    starts = [one.images for one in seen[:: len(seen) // 3]]
    np.testing.assert_array_equal(starts[0], starts[1])
    assert np.any(starts[0] != starts[2])


@attacks
@threats
def test_numpy_and_torch_find_the_same(attack: InBall, threat: Threat) -> None:
    pytest.importorskip("torch")
    model, batch, eps = network(), images(8), attack.some_flip[threat.norm]
    ours, theirs = (
        attack(convert, model, batch, eps, threat, restarts=2, seed=3) for convert in (np.asarray, to_torch)
    )
    np.testing.assert_array_equal(ours.adversarial, theirs.adversarial)
    # Images are not compared: near the top rounding decides which of two equal points was better.
    np.testing.assert_allclose(ours.value, theirs.value, atol=1e-5)


@attacks
@threats
def test_a_budget_stops_it_with_what_it_has_found(attack: InBall, threat: Threat) -> None:
    model, batch, asked = network(), images(4), iter([False] * 7 + [True] * 100)
    budget = Budget(cancelled=lambda: next(asked))
    watched: list[Any] = []
    result = attack(np.asarray, model, batch, 0.05, threat, restarts=3, budget=budget, watch=watched.append)
    assert budget.exhausted and len(watched) == 7
    assert np.isfinite(result.value).all()


@attacks
@pytest.mark.parametrize("restarts", [0, 1])
def test_an_attack_needs_a_step_and_a_restart(attack: InBall, restarts: int) -> None:
    options = {"restarts": restarts, attack.length: 1 - restarts}
    with pytest.raises(ValueError, match="at least 1"):
        attack(np.asarray, network(), images(1), 0.1, Linf(), **options)


def targeted(convert: Convert, model: Linear, batch: Array, targets: Array) -> ClassifierObjective:
    return ClassifierObjective(
        classifier=on(convert, model),
        labels=convert(predicted(model, batch)),
        targets=convert(targets),
        losses=convert(np.full((len(batch),), int(Loss.MARGIN))),
        budget=Budget(),
    )


@pytest.mark.parametrize("attack", [PGD, APGD], ids=lambda attack: attack.name)
@threats
def test_a_targeted_attack_ends_at_its_target(convert: Convert, attack: InBall, threat: Threat) -> None:
    model, batch = many_class(), images(6)
    targets = (predicted(model, batch) + 2) % 5
    eps = {"linf": 0.5, "l2": 2.0, "l1": 8.0}[threat.norm]
    radii = convert(np.full((6,), eps, dtype=np.float32))
    objective = targeted(convert, model, batch, targets)
    result = attack.run(objective, convert(batch), threat=threat, eps=radii, steps=20)
    reached = predicted(model, np.asarray(result.images)) == targets
    assert reached.sum() >= 4
    np.testing.assert_array_equal(np.asarray(result.adversarial), reached)


@threats
def test_the_order_of_the_batch_does_not_matter_to_fmn(convert: Convert, threat: Threat) -> None:
    model, batch, order = network(), images(6), np.asarray([4, 2, 0, 5, 1, 3])
    whole, mixed = (nearest(convert, model, part, threat) for part in (batch, batch[order]))
    same(mixed, whole, order)


@threats
def test_fmn_finds_the_same_on_numpy_and_torch(threat: Threat) -> None:
    pytest.importorskip("torch")
    model, batch = network(), images(8)
    ours, theirs = (nearest(convert, model, batch, threat) for convert in (np.asarray, to_torch))
    np.testing.assert_array_equal(ours.adversarial, theirs.adversarial)
    np.testing.assert_allclose(ours.size, theirs.size, rtol=1e-3)
