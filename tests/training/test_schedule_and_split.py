from __future__ import annotations

import pytest
import torch

from training.data.images import DataError
from training.data.split import epoch_order, generator, hold_out
from training.recipe import Optimiser
from training.schedule import learning_rate

SETTINGS = Optimiser(learning_rate=1.0, warmup=0.2)


def test_one_cycle_rises_then_falls_to_zero() -> None:
    rates = [learning_rate(step, 10, SETTINGS) for step in range(10)]
    assert rates == pytest.approx([0.5, 1.0, 1.0, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8])
    assert learning_rate(10, 10, SETTINGS) == 0.0


def test_cosine_falls_along_half_a_wave() -> None:
    settings = Optimiser(learning_rate=2.0, warmup=0.0, schedule="cosine")
    rates = [learning_rate(step, 4, settings) for step in range(5)]
    assert rates == pytest.approx([2.0, 1 + 0.5**0.5, 1.0, 1 - 0.5**0.5, 0.0])


def test_steps_multiply_by_the_decay() -> None:
    settings = Optimiser(learning_rate=1.0, warmup=0.1, schedule="step", milestones=(0.5, 0.8), decay=0.1)
    rates = [learning_rate(step, 10, settings) for step in range(10)]
    assert rates == pytest.approx([1.0, 1.0, 1.0, 1.0, 1.0, 0.1, 0.1, 0.1, 0.01, 0.01])


def test_hold_out_takes_each_class_its_share() -> None:
    labels = torch.tensor([0] * 60 + [1] * 30 + [2] * 10)
    train, held_out = hold_out(labels, 20, seed=0)
    assert torch.bincount(labels[held_out]).tolist() == [12, 6, 2]
    assert sorted([*train.tolist(), *held_out.tolist()]) == list(range(100))


def test_hold_out_depends_on_the_seed_alone() -> None:
    labels = torch.arange(100) % 5
    assert torch.equal(hold_out(labels, 10, seed=1)[1], hold_out(labels, 10, seed=1)[1])
    assert not torch.equal(hold_out(labels, 10, seed=1)[1], hold_out(labels, 10, seed=2)[1])


def test_hold_out_leaves_at_least_half() -> None:
    with pytest.raises(DataError, match="more than half of the 30 training images; at most 15"):
        hold_out(torch.zeros(30, dtype=torch.int64), 16, seed=0)


def test_generators_with_other_keys_differ() -> None:
    draws = {
        tuple(torch.randint(0, 2**31, (4,), generator=generator(*key)).tolist())
        for key in [(0,), (1,), (0, 1), (1, 0), (0, 0), (0, 1, 2), (0, 2, 1), (2**40,)]
    }
    assert len(draws) == 8


def test_epoch_order_is_a_permutation_that_changes() -> None:
    indices = torch.arange(10, 60)
    first, second = epoch_order(indices, 0, 0), epoch_order(indices, 0, 1)
    assert sorted(first.tolist()) == sorted(second.tolist()) == indices.tolist()
    assert not torch.equal(first, second)
