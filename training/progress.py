"""What a person sees while a run goes on: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Self, TypeAlias

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from training.totals import loss_text

Track: TypeAlias = Callable[[Sequence[Tensor], str], Iterable[Tensor]]
"""`TrainingProgress.track`."""
_BESIDE_FIGURES = 60
"""Columns of a terminal that the epoch, the bar and the times take."""


class TrainingProgress:
    """A bar for the epoch under way and a line for each finished one."""

    def __init__(self, epochs: int, console: Console | None = None, *, shown: bool = True) -> None:
        self._epochs = epochs
        self._console = console or Console(stderr=True, quiet=not shown)
        self._bars = Progress(
            TextColumn("{task.fields[stage]}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._task = self._bars.add_task("steps", stage="", figures="", total=None)

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def start_epoch(self, epoch: int, steps: int, done: int) -> None:
        """`epoch` counts from 0; `done` of its `steps` were done before a resume."""
        self._bars.reset(
            self._task, total=steps, completed=done, stage=f"epoch {epoch + 1}/{self._epochs}", figures=""
        )

    def track(self, parts: Sequence[Tensor], stage: str) -> Iterator[Tensor]:
        """`parts` one by one, with a bar for this work that precedes the epochs."""
        self._bars.reset(self._task, total=len(parts), stage=stage, figures="")
        for part in parts:
            yield part
            self._bars.advance(self._task)

    def say(self, text: str) -> None:
        """A line that stays."""
        self._console.print(text, soft_wrap=True, highlight=False, markup=False)

    def step(self, done: int, figures: Mapping[str, float]) -> None:
        """`figures`: the epoch's means so far (`training.totals.means`)."""
        text = f"{loss_text(figures)}{_accuracies(figures, 'train')}"
        if self._console.width < len(text) + _BESIDE_FIGURES:
            text = f"loss {figures['loss']:.3f}"
        self._bars.update(self._task, completed=done, figures=text)

    def finish_epoch(self, figures: Mapping[str, float], *, best: bool) -> None:
        """A line that stays. `figures`: an entry of `Progress.history`."""
        self._console.print(
            f"epoch {figures['epoch']:.0f}/{self._epochs}  {loss_text(figures)}"
            f"{_accuracies(figures, 'train')}{_accuracies(figures, 'held_out')}  "
            f"{figures['seconds']:.0f} s{'  (best)' if best else ''}",
            soft_wrap=True,
            highlight=False,
        )


def _accuracies(figures: Mapping[str, float], of: str) -> str:
    """'  train clean 61.0% robust 40.2%', as far as they were measured."""
    found = {name: figures.get(f"{of}_{name}") for name in ("clean", "robust")}
    words = [f"{name} {value:.1%}" for name, value in found.items() if value is not None]
    return f"  {of.replace('_', '-')} {' '.join(words)}" if words else ""
