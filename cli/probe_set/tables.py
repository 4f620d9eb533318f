"""The reports of a set as a table: CSV, JSON, JSON lines, and for people."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable
from pathlib import PurePath
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cli.probe_report import STYLES
from cli.probe_set.files import Failure
from cli.probe_set.result import Probed, SetResult, breakpoints, curve_at, median_flipped
from cli.probe_set.setup import Setup
from cli.radius import radius
from cli.tables import plain_table, print_tables

COLUMNS = (
    "file", "label", "target", "prediction", "probability", "correct", "verdict", "norm", "eps", "held",
    "flipped", "flipped_8bit", "failed_checks", "classes", "certified_label", "certified_radius", "exhausted",
    "gradient_evaluations", "forward_evaluations", "seconds", "error",
)  # fmt: skip
"""Of the CSV file. All eps in units of [0, 1] pixels; what is not known is empty; `held` and `flipped` are
those of `minimal_eps`, and `eps` is what the verdict is about; with a `target` all of these are about
reaching that class alone. `classes` is a JSON object, the smallest eps
by class; `certified_label` and `certified_radius` (l2) are the smoothed classifier's."""
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What spreadsheets take for the beginning of a formula (CWE-1236)."""


def csv_table(result: SetResult) -> str:
    """One line for each image, and for each file that could not be probed (then `error` says why).

    No cell begins as a formula does, for spreadsheets would run it: a file =x.png is written as ./=x.png, and
    before any other such text comes an apostrophe.
    """
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS)
    writer.writeheader()
    writer.writerows(_cells(probed) for probed in result.probed)
    writer.writerows(
        {"file": _file(failure.name), "error": _text(failure.reason)} for failure in result.failures
    )
    return text.getvalue()


def json_line(outcome: Probed | Failure) -> str:
    """One object in one line: the report with `file` and `label`, or `file` and `error`."""
    return json.dumps(_json(outcome))


def json_document(result: SetResult, setup: Setup) -> str:
    """Everything in one object; `reports` and `failed` hold what `json_line` says."""
    curve = curve_at(result.probed, breakpoints(result.probed)) if result.probed else []
    return json.dumps(
        {
            "model": setup.model,
            "command": setup.command,
            "about": setup.about,
            "curve": [
                {"eps": point.eps, "flipped": point.flipped, "held": point.held, "undecided": point.undecided}
                for point in curve
            ],
            "reports": [_json(probed) for probed in result.probed],
            "failed": [_json(failure) for failure in result.failures],
            "not_reached": result.not_reached,
            "skipped": result.skipped,
        },
        indent=2,
    )


def print_table(result: SetResult, setup: Setup, console: Console) -> None:
    """A line for each image, and what can be said about all of them."""
    if result.probed:
        folder = common_folder(probed.name for probed in result.probed)
        print_tables(console, _rows(result, setup, folder))
        if folder != PurePath():
            console.print(f"Files in {folder}", highlight=False, markup=False, soft_wrap=True)
        for line in summary(result, setup):
            console.print(line, highlight=False, markup=False, soft_wrap=True)
    for failure in result.failures:
        text = f"[red]not probed:[/] {escape(failure.name)}: {escape(failure.reason)}"
        console.print(text, highlight=False, soft_wrap=True)
    if result.skipped:
        console.print(f"{counted(result.skipped, 'other file')} skipped: no images", highlight=False)


def summary(result: SetResult, setup: Setup) -> list[str]:
    """The figures of the set in sentences, for at least one image."""
    threat, n = result.probed[0].report["threat"], len(result.probed)
    norm, model = threat["norm"], f"{setup.model['name']}/{setup.model['version']}"
    point = curve_at(result.probed, [threat["eps"]])[0]
    held = "attacked in vain (no proof)" if point.eps > 0 else "not flipped, as nothing was changed"
    shares = f"{point.flipped:.1%} flipped, {point.held:.1%} {held}"
    lines = [
        f"{counted(n, 'image')} on {model}. {setup.about}",
        f"Within eps {radius(threat['eps'], norm)} ({norm}): {shares}, {point.undecided:.1%} undecided",
        f"Median of the smallest eps found: {radius(median_flipped(result.probed), norm)}",
    ]
    if setup.labelled:
        correct = sum(probed.correct is True for probed in result.probed)
        lines.append(f"Clean accuracy: {correct} of {n} ({correct / n:.1%})")
    return lines


def common_folder(names: Iterable[str]) -> PurePath:
    """The folder that all of some files lie in or below; the present one where they share none."""
    try:
        return PurePath(os.path.commonpath([PurePath(name).parent for name in names]))
    # Some names are absolute, others are not.
    except ValueError:
        return PurePath()


def counted(n: int, noun: str) -> str:
    """1 image, 2 images."""
    return f"{n} {noun}{'' if n == 1 else 's'}"


def _rows(result: SetResult, setup: Setup, folder: PurePath) -> Table:
    """Names, as they are below `folder`, may break into lines; everything else stays whole."""
    doubted = any(probed.failed_checks for probed in result.probed)
    table = plain_table()
    table.add_column("file", overflow="fold")
    for heading in ("answer", *(["label"] if setup.labelled else []), "verdict"):
        table.add_column(heading, no_wrap=True)
    for heading in ("smallest", "8-bit"):
        table.add_column(heading, no_wrap=True, justify="right")
    if doubted:
        table.add_column("checks failed", overflow="fold")
    for probed in result.probed:
        report = probed.report
        norm = report["threat"]["norm"]
        table.add_row(
            escape(probed.name if folder == PurePath() else str(PurePath(probed.name).relative_to(folder))),
            escape(report["prediction"]["label"]),
            *([escape(probed.label or "")] if setup.labelled else []),
            f"[{STYLES[probed.verdict]}]{probed.verdict}[/]",
            radius(report["minimal_eps"]["flipped"], norm),
            radius(report["minimal_eps_8bit"], norm),
            *([" ".join(check["check"] for check in probed.failed_checks)] if doubted else []),
        )
    return table


def _cells(probed: Probed) -> dict[str, Any]:
    report = probed.report
    budget, certificate = report["budget"], report["certificate"] or {}
    return {
        "file": _file(probed.name),
        "label": _text(probed.label),
        "target": _text(report["goal"]["target"]),
        "prediction": _text(report["prediction"]["label"]),
        "probability": report["prediction"]["probability"],
        "correct": _lower(probed.correct),
        "verdict": probed.verdict,
        "norm": report["threat"]["norm"],
        "eps": report["threat"]["eps"],
        "held": report["minimal_eps"]["held"],
        "flipped": report["minimal_eps"]["flipped"],
        "flipped_8bit": report["minimal_eps_8bit"],
        "failed_checks": " ".join(check["check"] for check in probed.failed_checks),
        "classes": None
        if report["classes"] is None
        else json.dumps({one["label"]: one["flipped"] for one in report["classes"]}),
        "certified_label": _text(certificate.get("label")),
        "certified_radius": certificate.get("radius"),
        "exhausted": _lower(budget["exhausted"]),
        "gradient_evaluations": budget["gradient_evaluations"],
        "forward_evaluations": budget["forward_evaluations"],
        "seconds": budget["seconds"],
    }


def _file(name: str) -> str:
    return f"./{name}" if name.startswith(_FORMULA) else name


def _text(value: str | None) -> str | None:
    return f"'{value}" if value is not None and value.startswith(_FORMULA) else value


def _lower(value: bool | None) -> str | None:
    # As in JSON, which both spreadsheets and pandas read as a truth value.
    return None if value is None else str(value).lower()


def _json(outcome: Probed | Failure) -> dict[str, Any]:
    if isinstance(outcome, Failure):
        return {"file": outcome.name, "error": {"code": outcome.code, "detail": outcome.reason}}
    return {"file": outcome.name, "label": outcome.label, **outcome.report}
