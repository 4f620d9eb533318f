"""Medians over the rounds, and what they say about ours."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.serving_load.wrk import Load


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One server in one round; for the ceiling, which answers nobody, `loads` is empty."""

    round: int
    server: str
    workers: int
    loads: tuple[Load, ...] = ()
    ceiling: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One server at one number of workers and connections: medians over the rounds.

    `times` is its rate over that of the reference in the same round, the median over the rounds.
    """

    server: str
    workers: int
    connections: int
    per_second: float
    median_ms: float
    p99_ms: float
    failed: int
    cpu_ms: float | None
    times: float


def rows(measured: Sequence[Measured], *, reference: str) -> Iterator[Row]:
    """The table, every server beside the one called `reference` with as many workers."""
    groups: dict[tuple[str, int, int], dict[int, Load]] = defaultdict(dict)
    for one in measured:
        for load in one.loads:
            groups[one.server, one.workers, load.connections][one.round] = load
    for (server, workers, connections), loads in groups.items():
        others = groups[reference, workers, connections]
        yield Row(
            server=server,
            workers=workers,
            connections=connections,
            per_second=statistics.median(load.per_second for load in loads.values()),
            median_ms=statistics.median(load.median_ms for load in loads.values()),
            p99_ms=statistics.median(load.p99_ms for load in loads.values()),
            failed=sum(load.failed for load in loads.values()),
            cpu_ms=_median([load.cpu_ms for load in loads.values() if load.cpu_ms is not None]),
            times=statistics.median(
                load.per_second / others[number].per_second for number, load in loads.items()
            ),
        )


def _median(values: Sequence[float]) -> float | None:
    return statistics.median(values) if values else None


def ceilings(measured: Sequence[Measured]) -> dict[int, float]:
    """The ceiling by the number of processes: medians over the rounds."""
    found: dict[int, list[float]] = defaultdict(list)
    for one in measured:
        if one.ceiling is not None:
            found[one.workers].append(one.ceiling)
    return {workers: statistics.median(values) for workers, values in found.items()}
