"""How tables look, and those that several commands print: of measured figures and of checks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cli.radius import short_radius

_MARKS = {True: "[green]passed[/]", False: "[bold red]failed[/]", None: "[dim]not made[/]"}


def plain_table() -> Table:
    """Without lines but one below the headings, and two spaces between columns."""
    return Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))


def print_tables(console: Console, *tables: Table) -> None:
    """Prints them with an empty line before, between and behind."""
    console.print()
    for table in tables:
        console.print(table)
        console.print()


class Measured(Protocol):
    """Accuracy in [0, 1] on `n` images; `norm` and `eps` (in [0, 1] pixels) are None on clean ones."""

    @property
    def name(self) -> str: ...
    @property
    def accuracy(self) -> float: ...
    @property
    def n(self) -> int: ...
    @property
    def norm(self) -> str | None: ...
    @property
    def eps(self) -> float | None: ...


def figures_table(figures: Iterable[Measured], *, stages: Iterable[Measured] = ()) -> Table:
    """A row for each figure; `stages` are the parts of AutoAttack, below it."""
    from training.evaluation.figures import wilson

    table = plain_table()
    table.add_column("attack", no_wrap=True)
    table.add_column("eps", no_wrap=True)
    for heading in ("accuracy", "95% interval", "images"):
        table.add_column(heading, justify="right", no_wrap=True)

    def add(figure: Measured, name: str, style: str) -> None:
        low, high = wilson(figure.accuracy, figure.n)
        size = "" if figure.eps is None else f"{figure.norm} {short_radius(figure.eps, figure.norm or '')}"
        interval = f"{low:.1%} to {high:.1%}"
        table.add_row(escape(name), size, f"{figure.accuracy:.1%}", interval, str(figure.n), style=style)

    for figure in figures:
        add(figure, figure.name, "bold" if figure.name == "worst-case" else "")
        if figure.name == "autoattack":
            for stage in stages:
                add(stage, f"  {stage.name}", "dim")
    return table


def checks_table(checks: Iterable[tuple[str, bool | None, str]]) -> Table:
    """Name, whether it passed (None: not made), and what was seen."""
    table = plain_table()
    table.add_column("check", overflow="fold")
    table.add_column("", no_wrap=True)
    table.add_column("what was seen")
    for name, passed, detail in checks:
        table.add_row(escape(name), _MARKS[passed], escape(detail))
    return table
