"""What is seen while a command works: on a terminal only, on standard error, gone when it is done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from cli.terminal import draws_lines, notes

_BESIDE_A_NAME = 56
"""Columns that a bar, its numbers and its times take."""
_SHORTEST_NAME = 10


@contextmanager
def waiting(text: str, *, shown: bool = True) -> Iterator[None]:
    """A spinner with `text` and the time so far, for work of unknown length."""
    console = notes()
    spinner = SpinnerColumn("dots" if draws_lines(console) else "line")
    with progress(spinner, TimeElapsedColumn(), TextColumn("{task.description}"), shown=shown) as bars:
        bars.add_task(text, total=None)
        yield


@contextmanager
def counting(text: str, total: int, *, shown: bool = True) -> Iterator[Callable[[str], None]]:
    """A bar over so many things. Yields what is called with the name of each one when it begins."""
    columns = (TextColumn(text), BarColumn(20), MofNCompleteColumn(), TimeElapsedColumn())
    named = TextColumn("{task.description}", style="dim", markup=False)
    with progress(*columns, TextColumn("left"), TimeRemainingColumn(), named, shown=shown) as bars:
        task, begun = bars.add_task("", total=total), 0
        room = bars.console.width - _BESIDE_A_NAME - len(text)

        def begin(name: str) -> None:
            nonlocal begun
            short = name if len(name) <= room else f"...{name[-room + 3 :]}"
            bars.update(task, completed=begun, description=short if room > _SHORTEST_NAME else "")
            begun += 1

        yield begin


def progress(*columns: ProgressColumn, shown: bool = True) -> Progress:
    """Bars with these columns; nothing at all where there is no terminal that a cursor moves on."""
    console: Console = notes()
    return Progress(
        *columns,
        console=console,
        transient=True,
        disable=not (shown and console.is_interactive),
        # What is printed to standard output belongs there, and not on the terminal of the bar.
        redirect_stdout=False,
    )
