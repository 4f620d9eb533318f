"""The study's memory is that of training steps: not of loading, nor of what came before."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.methods.memory import measure_memory


def test_more_views_take_more_memory_and_loading_counts_for_nothing(tmp_path: Path) -> None:
    measure_memory(tmp_path, arms=("standard", "ascl-leaked-local"))
    found = {file.stem: json.loads(file.read_bytes()) for file in (tmp_path / "memory").iterdir()}
    one, four = (found[name]["training_mib"] for name in ("standard", "ascl-leaked-local"))
    # The first activations of 128 images alone: 32 channels of 16x16, convolved and normalised, in float32.
    least = 2 * 128 * 32 * 16 * 16 * 4 / 2**20
    assert least < one < 0.5 * four
    # Python and torch take hundreds of MiB, and are not in it.
    assert one < found["standard"]["before_mib"]
    assert found["standard"]["provenance"]["threads"] == 1
