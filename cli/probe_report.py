"""A probe's report for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

STYLES = {"flipped": "bold red", "held": "bold green", "inconclusive": "bold yellow"}
_UNKNOWN = "-"


def print_report(report: Mapping[str, Any], console: Console) -> None:
    """Prints the JSON object of `/probe`: the answer, the verdict, the curve, what each class takes, and the
    checks that failed."""
    model, prediction, norm = report["model"], report["prediction"], report["threat"]["norm"]
    console.print(
        f"{model['name']}/{model['version']} says [bold]{escape(prediction['label'])}[/] "
        f"({prediction['probability']:.1%})",
        highlight=False,
    )
    verdict, eps = report["verdict"], report["threat"]["eps"]
    console.print(
        f"[{STYLES[verdict]}]{verdict}[/] at eps {radius(eps, norm)} ({norm}). {escape(report['meaning'])}",
        highlight=False,
    )
    console.print(_smallest(report), highlight=False)
    console.print(_curve(report))
    if report["classes"]:
        console.print(_classes(report))
    if (certificate := report["certificate"]) is not None:
        label = "no answer" if certificate["label"] is None else escape(certificate["label"])
        console.print(f"[bold]certificate[/]: {label}. {escape(certificate['meaning'])}", highlight=False)
    for check in report["evidence"]:
        if not check["passed"]:
            console.print(f"[yellow]check failed:[/] {check['check']}: {check['detail']}", highlight=False)
    spent = report["budget"]
    console.print(
        f"{spent['gradient_evaluations']} gradients and {spent['forward_evaluations']} forward passes in "
        f"{spent['seconds']:.2f} s{', stopped by the deadline' if spent['exhausted'] else ''}",
        style="dim",
        highlight=False,
    )


def radius(eps: float | None, norm: str) -> str:
    """eps as people read it: l-inf in 255ths, as pixels are stored, l2 and l1 as they are."""
    if eps is None:
        return _UNKNOWN
    return f"{eps * 255:.2f}/255" if norm == "linf" else f"{eps:.4f}"


def _smallest(report: Mapping[str, Any]) -> str:
    smallest, norm = report["minimal_eps"], report["threat"]["norm"]
    return (
        f"Attacked in vain up to {radius(smallest['held'], norm)}; smallest eps that flips the answer: "
        f"{radius(smallest['flipped'], norm)}, as an 8-bit image {radius(report['minimal_eps_8bit'], norm)}"
    )


def _curve(report: Mapping[str, Any]) -> Table:
    table = Table("eps", "flipped", "as 8-bit image", "nearest answer", "margin", "margin under noise")
    for point in report["curve"]:
        answer = (
            _UNKNOWN if point["label"] is None else f"{escape(point['label'])} ({point['probability']:.1%})"
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
    table = Table("class", "smallest eps that gives it")
    for one in report["classes"]:
        table.add_row(escape(one["label"]), radius(one["flipped"], norm))
    return table


def _yes_or_no(value: bool | None) -> str:
    return _UNKNOWN if value is None else "yes" if value else "no"


def _number(value: float | None) -> str:
    return _UNKNOWN if value is None else f"{value:.3f}"
