"""docs/overload.md, from the results alone."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.machine import described
from benchmarks.markdown_table import markdown_table

_INTRODUCTION = """\
# What a client feels under load

This page is written by `python -m benchmarks.overload --page` from the files in
`benchmarks/overload/results/`. Each comes from one command, named with it, on two cores that the server
shares with its clients. The server is ours as it is shipped, under `bentoml serve` with two workers.

A steady client posts a 32x32 PNG to `/classify` every 50 ms on a new connection, whatever the answers take,
first to an idle server, then while so many others ask for long probes that the probe lane is always full, and
then in a flood of classifications on 1,500 connections. Percentiles are those of its answers with status 200.

Refusals beyond a hundred a second and worker are told half a second later ([operations.md](operations.md)):
so many connections cannot ask more often than three thousand times a second then, which is ten times the
capacity of a slow model only.

* *Capacity* is what sixteen connections get that ask as fast as they are answered.
* *Unanswered* are requests of the flood whose connection was refused or reset, or that had no answer after a
  minute. All others were answered; the table says with what, for the steady client among them.
* *Recovered* is how long after the flood five answers in a row took at most twice the idle server's p99."""

_HEADINGS = ("server", "requests", "200", "503", "other", "median", "p99")
_STATES = {"idle": "idle", "beside_probes": "probe lane full", "flooded": "flooded"}


def write_page(results: Path, docs: Path) -> None:
    """Write `overload.md` into `docs`, from the files of `results`, each named by its model."""
    parts = [_INTRODUCTION]
    for file in sorted(results.glob("*.json")):
        parts += _section(file.stem, json.loads(file.read_bytes()))
    (docs / "overload.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def _section(model: str, report: Mapping[str, Any]) -> Iterator[str]:
    flood = report["flooded"]
    yield f"## Model: {model}"
    yield (
        f"```sh\n.venv/test/bin/python -m benchmarks.overload IMAGE.png --model {model} \\\n"
        f"    --json benchmarks/overload/results/{model}.json\n```"
    )
    yield f"Measured on {described(report.get('provenance', {}))}."
    yield markdown_table(_HEADINGS, (_cells(name, report[name]) for name in _STATES))
    yield (
        f"* Beside probes its p99 is {report['beside_probes']['p99_over_idle']:.2f} times the idle one.\n"
        f"* The flood: {flood['offered_over_capacity']:.1f} times a capacity of "
        f"{flood['capacity_per_second']:,.0f} a second, for {flood['seconds']:.0f} s. "
        f"{flood['answered_per_second']:,.0f} a second were answered 200; "
        f"{flood['unanswered']:,} unanswered.\n"
        f"* Memory of all processes: {flood['memory_mib_before']:,.0f} MiB before, "
        f"{flood['memory_mib_at_the_end']:,.0f} MiB at the end of the flood.\n"
        f"* Recovered after {flood['seconds_to_recovery']:.2f} s."
    )


def _cells(name: str, felt: Mapping[str, Any]) -> tuple[str, ...]:
    statuses = {int(status): count for status, count in felt["statuses"].items()}
    total, answered, full = sum(statuses.values()), statuses.get(200, 0), statuses.get(503, 0)
    return (
        _STATES[name],
        f"{total:,}",
        f"{answered:,}",
        f"{full:,}",
        f"{total - answered - full:,}",
        f"{felt['median_ms']:,.1f} ms",
        f"{felt['p99_ms']:,.1f} ms",
    )
