"""What commands print to, and what the terminal there can show."""

from __future__ import annotations

import os

from rich.console import Console

_UNBROKEN = 1000


def output() -> Console:
    """Standard output, for what was asked for."""
    return _console(stderr=False)


def notes() -> Console:
    """Standard error, for progress and whatever else is said by the way."""
    return _console(stderr=True)


def draws_lines(console: Console) -> bool:
    """Whether it is a terminal that shows characters beyond ASCII where they are put."""
    return console.is_interactive and not console.options.ascii_only


def draws_pictures(console: Console) -> bool:
    """Whether it also has 256 colours or more, and nobody asked for none (NO_COLOR)."""
    return draws_lines(console) and not console.no_color and console.color_system in ("256", "truecolor")


def _console(*, stderr: bool) -> Console:
    console = Console(stderr=stderr, highlight=False)
    if console.is_terminal or "COLUMNS" in os.environ:
        return console
    # A file or a pipe has no width: no line is broken, so that it can be searched.
    return Console(stderr=stderr, highlight=False, width=_UNBROKEN)
