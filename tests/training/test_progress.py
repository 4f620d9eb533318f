"""What a terminal shows of an epoch under way."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from training.progress import TrainingProgress

FIGURES = {"loss": 4.453, "train_clean": 0.5, "train_robust": 0.25}


@pytest.mark.parametrize(
    ("width", "text"), [(160, "loss 4.453  train clean 50.0% robust 25.0%"), (80, "loss 4.453")]
)
def test_the_bar_stays_however_narrow_the_terminal(
    monkeypatch: pytest.MonkeyPatch, width: int, text: str
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=True, width=width, color_system=None)

    with TrainingProgress(3, console) as bars:
        bars.start_epoch(0, 10, 0)
        bars.step(5, FIGURES)

    last = shown.getvalue().rpartition("epoch 1/3")[2]
    assert "━" in last and "5/10" in last
    assert text in last
    assert ("robust" in last) == (width == 160)
