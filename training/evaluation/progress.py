"""What a person sees while an evaluation goes on, and the figures that it leaves."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from torch import Tensor

from probes.threat import Norm
from training.evaluation.autoattack import Stage
from training.evaluation.figures import Figure


class Ledger:
    """Shows a bar while an attack goes on, times it, and keeps the figures."""

    def __init__(self, norm: Norm, eps: float, console: Console | None = None) -> None:
        self.figures: list[Figure] = []
        self.stages: list[Figure] = []
        self.worst_case: Figure | None = None
        self._norm: Norm = norm
        self._eps = eps
        self._console = console or Console(stderr=True)
        self._began = self._bar_began = time.monotonic()

    @contextmanager
    def bar(self, name: str, total: int) -> Iterator[Callable[[int], None]]:
        """A bar over `total` images; yields what advances it by a number of images."""
        self._bar_began = time.monotonic()
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        hidden = not self._console.is_terminal
        with Progress(*columns, console=self._console, transient=True, disable=hidden) as bars:
            task = bars.add_task(name, total=total)
            yield lambda count: bars.advance(task, count)

    def say(self, text: str) -> None:
        """A line that stays."""
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def add(self, name: str, flags: Tensor, *, clean: bool = False) -> None:
        """Keep the figure of bool[N] `flags` (right or not), measured since the last bar began."""
        self.figures.append(self._figure(name, flags, time.monotonic() - self._bar_began, clean=clean))

    def add_stages(self, stages: Mapping[str, Stage]) -> None:
        """Keep what stood after each part of the attack that was added last."""
        for name, stage in stages.items():
            self.stages.append(self._figure(name, stage.standing, stage.seconds))

    def add_worst(self, flags: Tensor) -> None:
        """Keep the figure of bool[N] `flags`, which images stood after everything so far."""
        self.worst_case = self._figure("worst-case", flags, time.monotonic() - self._began)

    def _figure(self, name: str, flags: Tensor, seconds: float, *, clean: bool = False) -> Figure:
        figure = Figure(
            name=name,
            accuracy=float(flags.double().mean()),
            n=len(flags),
            norm=None if clean else self._norm,
            eps=None if clean else self._eps,
            seconds=round(seconds, 1),
        )
        self.say(f"{name:<14} {figure.accuracy:7.2%}  {figure.seconds:6.0f} s")
        return figure
