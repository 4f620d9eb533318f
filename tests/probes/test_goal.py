"""By how much a goal must be won."""

from __future__ import annotations

import numpy as np
import pytest

from probes import goal
from probes.arrays import Array
from probes.goal import ROUNDING, decisive, spread


@pytest.mark.parametrize(("classes", "among"), [(2, 2), (3, 2), (4, 3), (9, 5), (10, 6), (11, 6), (1000, 6)])
def test_the_spread_is_measured_among_the_likelier_half_and_among_six_at_most(
    classes: int, among: int
) -> None:
    logits = np.random.default_rng(classes).permutation(classes).astype(np.float32)[None] ** 2
    assert spread(logits)[0] == (classes - 1) ** 2 - (classes - among) ** 2


@pytest.mark.parametrize("classes", [2, 3, 10, 100])
def test_a_goal_is_decisive_by_a_part_of_the_spread_and_by_rounding(classes: int) -> None:
    logits = np.random.default_rng(classes).normal(scale=30.0, size=(16, classes)).astype(np.float32)
    largest = np.max(np.abs(np.sort(logits, axis=1)[:, -2:]), axis=1)
    expected = 1e-4 * spread(logits) + ROUNDING * largest
    np.testing.assert_array_equal(decisive(logits, lead=1e-4), expected)


def test_the_logits_are_sorted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    sorts: list[int] = []

    class Counting:
        def __getattr__(self, name: str) -> object:
            if name == "sort":
                sorts.append(1)
            return getattr(np, name)

    def counting(*_: Array) -> Counting:
        return Counting()

    monkeypatch.setattr(goal, "namespace", counting)
    decisive(np.zeros((2, 10), dtype=np.float32), lead=1.0)
    assert len(sorts) == 1
