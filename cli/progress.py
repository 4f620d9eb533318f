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


@contextmanager
def waiting(text: str, *, shown: bool = True) -> Iterator[None]:
    """A spinner with `text` and the time so far, for work of unknown length."""
    console = notes()
    spinner = SpinnerColumn("dots" if draws_lines(console) else "line")
    with progress(spinner, TextColumn("{task.description}"), TimeElapsedColumn(), shown=shown) as bars:
        bars.add_task(text, total=None)
        yield


@contextmanager
def counting(text: str, total: int, *, shown: bool = True) -> Iterator[Callable[[str], None]]:
    """A bar over so many things. Yields what is called with the name of each one when it begins."""
    columns = (TextColumn(text), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    described = TextColumn("{task.description}", style="dim")
    with progress(*columns, TextColumn("left"), TimeRemainingColumn(), described, shown=shown) as bars:
        task, begun = bars.add_task("", total=total), 0

        def begin(name: str) -> None:
            nonlocal begun
            bars.update(task, completed=begun, description=name)
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
