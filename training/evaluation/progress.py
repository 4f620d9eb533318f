"""What a person sees while an evaluation goes on, and the figures that it leaves."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from torch import Tensor

from probes.threat import Norm
from training.evaluation.figures import Figure


class Ledger:
    """Shows a bar while an attack goes on, times it, and keeps the figures."""

    def __init__(self, norm: Norm, eps: float, console: Console | None = None) -> None:
        self.figures: list[Figure] = []
        self._norm: Norm = norm
        self._eps = eps
        self._console = console or Console(stderr=True)
        self._started = time.monotonic()

    @contextmanager
    def bar(self, name: str, total: int) -> Iterator[Callable[[int], None]]:
        """A bar over `total` images; yields what advances it by a number of images."""
        self._started = time.monotonic()
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
        figure = Figure(
            name=name,
            accuracy=float(flags.double().mean()),
            n=len(flags),
            norm=None if clean else self._norm,
            eps=None if clean else self._eps,
            seconds=round(time.monotonic() - self._started, 1),
        )
        self.figures.append(figure)
        self.say(f"{name:<12} {figure.accuracy:7.2%}  {figure.seconds:6.0f} s")
