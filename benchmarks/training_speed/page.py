"""docs/training_speed.md, from the results alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.machine import described
from benchmarks.markdown_table import markdown_table
from benchmarks.results_page import write_results_page

_INTRODUCTION = """\
# How fast it trains

One epoch of adversarial training here beside an ordinary loop with torchattacks, in turn
(`benchmarks/README.md` says what that loop gets). This page is written by
`python -m benchmarks.training_speed --page` from the files in `benchmarks/training_speed/results/`, each made
by

```sh
.venv/test/bin/python -m benchmarks.training_speed --data-dir DIR \\
    --json benchmarks/training_speed/results/NAME.json
```

on a machine that does nothing else. The aim is 1.5 times as fast on a CPU, and 3 times on a GPU."""
_HEADINGS = ("network", "attack", "images", "rounds", "times as fast", "each round")
_SHARES = ("network", "attack", "loop", "data", "attack's share", "update", "in convolutions")


def write_page(results: Path, docs: Path) -> None:
    """Write `training_speed.md` into `docs`, from the files of `results`."""
    write_results_page(results, docs / "training_speed.md", introduction=_INTRODUCTION, section=_section)


def _section(name: str, report: Mapping[str, Any]) -> Iterator[str]:
    compiled = ", our network compiled" if report["compile"] else ""
    yield f"## {name}"
    yield (
        f"On {described(report['provenance'])}: device {report['device']}{compiled}, {report['clock']} time, "
        f"batches of {report['batch_size']}, torch {report['torch']}."
    )
    yield markdown_table(_HEADINGS, (_ratios(report, row) for row in report["rows"]))
    yield "Where the time goes, in an epoch under torch's profiler:"
    yield markdown_table(_SHARES, (line for row in report["rows"] for line in _breakdown(row)))


def _ratios(report: Mapping[str, Any], row: Mapping[str, Any]) -> tuple[str, ...]:
    each = row["ratio_of_each_round"]
    return (
        f"`{row['network']}`",
        row["attack"],
        f"{report['images']:,}",
        str(report["rounds"]),
        f"{row['ratio']:.2f}",
        f"{min(each):.2f} to {max(each):.2f}",
    )


def _breakdown(row: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for loop, found in row["breakdown"].items():
        total = sum(found["stages"].values())
        shares = (f"{found['stages'].get(stage, 0.0) / total:.1%}" for stage in ("data", "attack", "update"))
        convolutions = f"{found['operations']['convolutions']:.1%}"
        yield f"`{row['network']}`", row["attack"], loop, *shares, convolutions
