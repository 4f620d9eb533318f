"""Progress: bars on a terminal that a cursor moves on, nothing elsewhere."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from cli.progress import counting, waiting


def _console(monkeypatch: pytest.MonkeyPatch, *, width: int, terminal: bool = True) -> io.StringIO:
    """What standard error becomes."""
    monkeypatch.setenv("TERM", "xterm")
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=terminal, width=width, color_system=None)
    monkeypatch.setattr("cli.progress.notes", lambda: console)
    return shown


def _count(names: list[str]) -> None:
    with counting("probing", len(names)) as begin:
        for name in names:
            begin(name)


@pytest.mark.parametrize(
    ("width", "seen"), [(120, "photos/a-long-name.png"), (80, "...-long-name.png"), (60, None)]
)
def test_the_one_under_way_is_named_as_far_as_there_is_room(
    monkeypatch: pytest.MonkeyPatch, width: int, seen: str | None
) -> None:
    shown = _console(monkeypatch, width=width)
    _count(["photos/first.png", "photos/a-long-name.png"])

    assert "1/2" in shown.getvalue()
    assert seen is None or f" {seen}" in shown.getvalue()
    assert (".png" in shown.getvalue()) == (seen is not None)


def test_work_of_unknown_length_has_a_spinner_and_a_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = _console(monkeypatch, width=80)
    with waiting("loading torch"):
        pass

    assert "0:00:00 loading torch" in shown.getvalue()


def test_a_pipe_sees_none_of_it_nor_does_who_asked_for_none(monkeypatch: pytest.MonkeyPatch) -> None:
    piped = _console(monkeypatch, width=80, terminal=False)
    with waiting("loading torch"):
        _count(["a.png"])
    terminal = _console(monkeypatch, width=80)
    with waiting("loading torch", shown=False), counting("probing", 1, shown=False) as begin:
        begin("a.png")

    assert piped.getvalue() == terminal.getvalue() == ""
