"""Each server in turn, under load from wrk at several numbers of connections; every round anew."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from benchmarks.figures_file import add_json_option, check_json_option, write_figures
from benchmarks.served_models import REPOSITORY, add_model_option, bundle_path
from benchmarks.server_process import free_port, running
from benchmarks.serving_load.contestants import STOCK, available, contestant, shared_environment
from benchmarks.serving_load.page import write_page
from benchmarks.serving_load.table import Measured, ceilings, rows
from benchmarks.serving_load.wrk import Load, load, require_wrk

CEILING_BATCH = 16
READY_SECONDS = 120
RESULTS = Path(__file__).with_name("results")


def main() -> None:
    """Measure, print each round, and the table at the end."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving_load", description=__doc__)
    parser.add_argument("image", type=Path, nargs="?", help="a PNG file, posted over and over")
    add_model_option(parser)
    parser.add_argument("--servers", nargs="+", choices=available(), default=available())
    parser.add_argument("--workers", type=int, nargs="+", default=[1, os.cpu_count() or 1])
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--seconds", type=float, default=6.0, help="of load, at each number of connections")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--page", action="store_true", help="only write docs/performance.md from the results")
    add_json_option(parser)
    arguments = parser.parse_args()
    if arguments.page:
        write_page(RESULTS, REPOSITORY / "docs")
        return
    check_json_option(arguments, parser)
    if arguments.image is None or not arguments.image.is_file():
        parser.error("a PNG file is needed to be posted")
    require_wrk()
    measured: list[Measured] = []
    with tempfile.TemporaryDirectory() as folder:
        arguments.bundle = bundle_path(arguments.model, Path(folder))
        for number in range(arguments.rounds):
            for workers in dict.fromkeys(arguments.workers):
                measured += _round(number, workers, arguments)
    _print_table(measured, reference=STOCK if STOCK in arguments.servers else arguments.servers[0])
    write_figures(arguments, {"measured": [asdict(one) for one in measured]})


def _round(number: int, workers: int, arguments: argparse.Namespace) -> Iterator[Measured]:
    image, bundle = arguments.image.read_bytes(), arguments.bundle
    threads = max(1, (os.cpu_count() or 1) // workers)
    for name in arguments.servers:
        loads = _loads(name, image, bundle, workers, threads, arguments)
        described = ", ".join(
            f"{one.connections}: {one.per_second:.0f}/s, p99 {one.p99_ms:.1f} ms"
            + (f", {one.failed} FAILED" if one.failed else "")
            for one in loads
        )
        print(f"round {number + 1}, {workers} worker(s), {name}: {described}", flush=True)
        yield Measured(round=number, server=name, workers=workers, loads=tuple(loads))
    ceiling = _ceiling(arguments.image, bundle, workers, threads, arguments.seconds)
    print(f"round {number + 1}, {workers} process(es) without HTTP: {ceiling:.0f}/s", flush=True)
    yield Measured(round=number, server="ceiling", workers=workers, ceiling=ceiling)


def _loads(
    name: str, image: bytes, bundle: Path, workers: int, threads: int, arguments: argparse.Namespace
) -> list[Load]:
    port = free_port()
    server = contestant(name, bundle=bundle, image=image, port=port, workers=workers, threads=threads)
    with running(
        server.command,
        port=port,
        cwd=REPOSITORY,
        limit=READY_SECONDS,
        environment=server.environment,
        ready=server.ready,
    ) as process:
        url = f"http://127.0.0.1:{port}/classify"

        def under(connections: int, seconds: float) -> Load:
            return load(
                url, server.body, content_type=server.content_type, connections=connections, seconds=seconds
            )

        def counted(connections: int) -> Load:
            before = process.cpu_seconds()
            found = under(connections, arguments.seconds)
            answers = found.per_second * arguments.seconds
            cpu_ms = 1000 * (process.cpu_seconds() - before) / answers if answers else None
            return replace(found, cpu_ms=cpu_ms)

        under(4 * workers, 2.0)
        # A server may still be busy with something that it began when it started.
        process.settle(limit=60.0)
        return [counted(connections) for connections in arguments.connections]


def _ceiling(image: Path, bundle: Path, workers: int, threads: int, seconds: float) -> float:
    """As many processes as the servers have workers, at the same time."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.serving_load.ceiling",
        str(image),
        str(CEILING_BATCH),
        str(seconds),
    ]
    environment = {**os.environ, **shared_environment(bundle, threads=threads, workers=workers)}
    processes = [
        subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(workers)
    ]
    return sum(float(process.communicate()[0]) for process in processes)


def _print_table(measured: Sequence[Measured], *, reference: str) -> None:
    print(f"\nmedians of the rounds; times: over {reference}, same workers and connections")
    print(f"{'server':<14} workers connections  per second      CPU   median      p99  failed   times")
    for row in rows(measured, reference=reference):
        cpu = "    -   " if row.cpu_ms is None else f"{row.cpu_ms:>5.2f} ms"
        print(
            f"{row.server:<14} {row.workers:>7} {row.connections:>11} {row.per_second:>11.0f} "
            f"{cpu} {row.median_ms:>5.1f} ms {row.p99_ms:>5.1f} ms {row.failed:>7} {row.times:>7.2f}"
        )
    for workers, rate in ceilings(measured).items():
        print(f"without HTTP, {workers} process(es), batches of {CEILING_BATCH}: {rate:.0f} images a second")


if __name__ == "__main__":
    main()
