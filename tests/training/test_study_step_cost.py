"""What the study's arms cost is measured on training steps: not on loading, nor on what came before."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.methods.arms import read_study
from benchmarks.methods.step_cost import epoch_seconds, measure_costs


def test_more_views_take_more_memory_and_loading_counts_for_nothing(tmp_path: Path) -> None:
    measure_costs(tmp_path, arms=("standard", "ascl-leaked-local"))
    found = {file.stem: json.loads(file.read_bytes()) for file in (tmp_path / "cost").iterdir()}
    one, four = (found[name]["training_mib"] for name in ("standard", "ascl-leaked-local"))
    # The first activations of 128 images alone: 32 channels of 16x16, convolved and normalised, in float32.
    least = 2 * 128 * 32 * 16 * 16 * 4 / 2**20
    assert least < one < 0.5 * four
    # Python and torch take hundreds of MiB, and are not in it.
    assert one < found["standard"]["before_mib"]
    assert found["standard"]["provenance"]["threads"] == 1
    assert all(cost["epoch_seconds"] > 0 for cost in found.values())


def test_an_epoch_has_all_updates_of_its_batches() -> None:
    recipes = {run.arm: run.recipe for run in read_study(Path()).runs}
    # 10,000 images are 78 whole batches of 128. The first step is another's warm-up.
    assert epoch_seconds([9.0, 1.0, 3.0], recipes["pgd-at"]) == pytest.approx(78 * 2.0)
    # Each batch is replayed four times.
    assert epoch_seconds([9.0, 1.0, 3.0], recipes["clead-simultaneous"]) == pytest.approx(4 * 78 * 2.0)
