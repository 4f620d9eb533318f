"""A probe's report for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console, RenderableType
from rich.markup import escape
from rich.table import Table

from cli.margin_chart import margin_chart
from cli.radius import UNKNOWN, radius, radius_below
from cli.tables import checks_table, plain_table, print_tables
from cli.terminal import draws_lines
from cli.verdict_sentence import caveat, verdict_sentence

STYLES = {"flipped": "bold red", "held": "bold green", "inconclusive": "bold yellow"}


def print_report(
    report: Mapping[str, Any], console: Console, *, drawing: RenderableType | None, chart: bool
) -> None:
    """Prints the JSON object of `/probe`: what was found in a sentence, the curve, what each class takes, the
    evidence, and the pictures.

    Args:
        drawing: of the images.
        chart: whether the margin is drawn where the terminal can.
    """
    model, prediction, norm = report["model"], report["prediction"], report["threat"]["norm"]
    verdict, eps = report["verdict"], report["threat"]["eps"]
    console.print(verdict_sentence(report), style=STYLES[verdict], markup=False)
    if said := caveat(report):
        console.print(said, style="dim")
    console.print(
        f"\n{model['name']}/{model['version']} says [bold]{escape(prediction['label'])}[/] "
        f"({prediction['probability']:.1%})"
    )
    console.print(
        f"[{STYLES[verdict]}]{verdict}[/] at eps {radius(eps, norm)} ({norm}). {escape(report['meaning'])}"
    )
    console.print(_smallest(report))
    print_tables(console, _curve(report), *([_classes(report)] if report["classes"] else []))
    if (certificate := report["certificate"]) is not None:
        label = "no answer" if certificate["label"] is None else escape(certificate["label"])
        console.print(f"[bold]certificate[/]: {label}. {escape(certificate['meaning'])}")
    _print_evidence(report["evidence"], console)
    spent = report["budget"]
    console.print(
        f"{spent['gradient_evaluations']} gradients and {spent['forward_evaluations']} forward passes in "
        f"{spent['seconds']:.2f} s{', stopped by the deadline' if spent['exhausted'] else ''}",
        style="dim",
    )
    if drawing is not None:
        console.print()
        console.print(drawing)
    if (
        chart
        and draws_lines(console)
        and (lines := margin_chart(report["curve"], norm, columns=console.width))
    ):
        console.print()
        for line in lines:
            console.print(line, no_wrap=True)


def _print_evidence(checks: Sequence[Mapping[str, Any]], console: Console) -> None:
    """What failed in full, what passed by name."""
    failed = [(check["check"], False, check["detail"]) for check in checks if not check["passed"]]
    passed = [check["check"] for check in checks if check["passed"]]
    if failed:
        print_tables(console, checks_table(failed))
    if passed:
        console.print(f"[green]checks passed ({len(passed)}):[/] {', '.join(passed)}")


def _smallest(report: Mapping[str, Any]) -> str:
    smallest, norm, target = report["minimal_eps"], report["threat"]["norm"], report["goal"]["target"]
    reaches = "flips the answer" if target is None else f"gives {escape(target)}"
    return (
        f"Attacked in vain up to {radius_below(smallest['held'], norm)}; smallest eps that {reaches}: "
        f"{radius(smallest['flipped'], norm)}, as an 8-bit image {radius(report['minimal_eps_8bit'], norm)}"
    )


def _curve(report: Mapping[str, Any]) -> Table:
    table = plain_table()
    table.add_column("eps", no_wrap=True, justify="right")
    for heading in ("flipped", "8-bit"):
        table.add_column(heading, no_wrap=True)
    table.add_column("worst answer", overflow="fold", min_width=8)
    for heading in ("margin", "noise"):
        table.add_column(heading, no_wrap=True, justify="right")
    for point in report["curve"]:
        answer = (
            UNKNOWN if point["label"] is None else f"{escape(point['label'])} ({point['probability']:.1%})"
        )
        table.add_row(
            radius(point["eps"], report["threat"]["norm"]),
            _yes_or_no(point["flipped"]),
            _yes_or_no(point["flipped_8bit"]),
            answer,
            _number(point["margin"]),
            _number(point["noise_margin"]),
        )
    return table


def _classes(report: Mapping[str, Any]) -> Table:
    norm = report["threat"]["norm"]
    table = plain_table()
    table.add_column("class", overflow="fold")
    table.add_column("smallest eps that gives it", justify="right")
    for one in report["classes"]:
        table.add_row(escape(one["label"]), radius(one["flipped"], norm))
    return table


def _yes_or_no(value: bool | None) -> str:
    return UNKNOWN if value is None else "[red]yes[/]" if value else "no"


def _number(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.3g}"
