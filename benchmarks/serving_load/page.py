"""docs/performance.md, from the results alone."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.machine import described
from benchmarks.markdown_table import markdown_table
from benchmarks.serving_load.contestants import BARE, OURS, STOCK
from benchmarks.serving_load.table import Measured, Row, ceilings, rows
from benchmarks.serving_load.wrk import Load

_INTRODUCTION = """\
# How fast it answers

This page is written by `python -m benchmarks.serving_load --page` from the files in
`benchmarks/serving_load/results/`. Each comes from one command, named with it, on two cores that the servers
share with the load generator ([wrk](https://github.com/wg/wrk)); every round starts every server anew. A
32x32 PNG is posted over and over. Ours runs as it is shipped: under `bentoml serve`, with its limits, metrics
and request log. *Stock BentoML* is a service with `@bentoml.api` that takes an image, with its defaults but
for the number of workers; *bare uvicorn* is Starlette with ONNX Runtime and nothing else.

Figures are medians over the rounds. *CPU* is the processor time of all processes of the server for an
answer, which other work on the machine changes least. The aims, for the tiny network: three times stock's
rate at as many workers, 0.85 of bare uvicorn's, a third of stock's p99; for ResNet-18: 0.9 of the rate
without HTTP, which is measured without wrk beside it."""

_HEADINGS = ("server", "workers", "connections", "answers a second", "CPU", "median", "p99", "failed")
_COMPARED = (
    *("workers", "connections", "rate over stock", "rate over bare", "rate over no HTTP"),
    *("p99 over stock", "CPU over bare"),
)


def write_page(results: Path, docs: Path) -> None:
    """Write `performance.md` into `docs`, from the files of `results`, each named by its model."""
    parts = [_INTRODUCTION]
    for file in sorted(results.glob("*.json")):
        provenance = json.loads(file.read_bytes()).get("provenance", {})
        parts += _section(file.stem, read_measured(file), machine=described(provenance))
    (docs / "performance.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def _section(model: str, measured: Sequence[Measured], *, machine: str) -> Iterator[str]:
    table = list(rows(measured, reference=OURS))
    rounds = len({one.round for one in measured})
    yield f"## Model: {model}"
    yield (
        f"```sh\n.venv/test/bin/python -m benchmarks.serving_load IMAGE.png --model {model} \\\n"
        f"    --json benchmarks/serving_load/results/{model}.json\n```"
    )
    yield f"Rounds: {rounds}. Measured on {machine}."
    yield markdown_table(_HEADINGS, (_cells(row) for row in table))
    if compared := list(_compared(table, ceilings(measured))):
        yield "Ours beside the others with as many workers and connections:"
        yield markdown_table(_COMPARED, compared)
    yield "\n".join(
        f"* Without HTTP, by processes that decode and compute batches of 16 ({workers} of them): "
        f"{rate:,.0f} images a second."
        for workers, rate in ceilings(measured).items()
    )


def _cells(row: Row) -> Sequence[str]:
    cpu = "-" if row.cpu_ms is None else f"{row.cpu_ms:.2f} ms"
    return (
        row.server,
        str(row.workers),
        str(row.connections),
        f"{row.per_second:,.0f}",
        cpu,
        f"{row.median_ms:.1f} ms",
        f"{row.p99_ms:.1f} ms",
        str(row.failed),
    )


def _compared(table: Sequence[Row], ceiling: Mapping[int, float]) -> Iterator[Sequence[str]]:
    by_place = {(row.server, row.workers, row.connections): row for row in table}
    for (server, *place), ours in by_place.items():
        stock, bare = (by_place.get((name, *place)) for name in (STOCK, BARE))  # type: ignore[arg-type]
        if server != OURS or stock is None or bare is None:
            continue
        cpu = "-" if not (ours.cpu_ms and bare.cpu_ms) else f"{ours.cpu_ms / bare.cpu_ms:.2f}"
        yield (
            *map(str, place),
            f"{ours.per_second / stock.per_second:.1f}",
            f"{ours.per_second / bare.per_second:.2f}",
            f"{ours.per_second / ceiling[ours.workers]:.2f}" if ours.workers in ceiling else "-",
            f"{ours.p99_ms / stock.p99_ms:.2f}",
            cpu,
        )


def read_measured(file: Path) -> list[Measured]:
    """What `--json` wrote."""

    def one(values: dict[str, Any]) -> Measured:
        return Measured(**values | {"loads": tuple(Load(**load) for load in values["loads"])})

    return [one(values) for values in json.loads(file.read_bytes())["measured"]]
