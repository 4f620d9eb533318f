"""What a steady client of /classify feels: idle, beside a saturated probe lane, in a flood; the memory."""

from __future__ import annotations

import argparse
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.figures_file import add_json_option, check_json_option, write_figures
from benchmarks.overload.sampler import Felt, Sampler, post, seconds_to_recovery, summary
from benchmarks.server_process import Running, free_port, running
from benchmarks.serving_load.contestants import OURS, REPOSITORY, contestant
from benchmarks.serving_load.wrk import load, require_wrk
from export.bundle import resolve_bundle

PROBE = "/probe?steps=100&restarts=5&evidence=full"
IN_A_ROW = 5
CONNECTIONS = 1500
"""Several times as many as the server has places; fewer than the 2048 that can wait to be accepted, for the
kernel lets others try again after seconds."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overload", description=__doc__)
    parser.add_argument("image", type=Path, help="a PNG file, posted over and over")
    parser.add_argument("--bundle", type=Path, help="of a model; by default the bundled one")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=20.0, help="idle, and beside probes")
    parser.add_argument("--flood-seconds", type=float, default=60.0)
    parser.add_argument(
        "--interval", type=float, default=0.05, help="seconds between the steady client's requests"
    )
    add_json_option(parser)
    arguments = parser.parse_args()
    check_json_option(arguments, parser)
    require_wrk()
    bundle = (arguments.bundle or resolve_bundle(REPOSITORY / "models", "clead-cifar10")).resolve()
    image, port = arguments.image.read_bytes(), free_port()
    server = contestant(OURS, bundle=bundle, image=image, port=port, workers=arguments.workers, threads=1)
    with running(
        server.command, port=port, cwd=REPOSITORY, limit=120, environment=server.environment
    ) as process:
        report = _measure(process, port, image, arguments)
    for name, value in report.items():
        print(f"{name}: {value}")
    write_figures(arguments, report)


def _measure(process: Running, port: int, image: bytes, arguments: argparse.Namespace) -> dict[str, Any]:
    def steady() -> Sampler:
        return Sampler(port, "/classify", image, interval=arguments.interval)

    process.settle(limit=60.0)
    with steady() as calm:
        threading.Event().wait(arguments.seconds)
    idle = summary(calm.samples)
    with _saturated(port, image, arguments.workers), steady() as beside:
        threading.Event().wait(arguments.seconds)
    probed = summary(beside.samples)
    flood = _flood(process, port, image, arguments, steady(), idle)
    return {
        "idle": asdict(idle),
        "beside probes": asdict(probed) | {"p99 over idle": probed.p99_ms / idle.p99_ms},
        "flooded": flood,
    }


@contextmanager
def _saturated(port: int, image: bytes, workers: int) -> Iterator[None]:
    """As many clients as keep every probe process busy and the queue from being empty."""
    done = threading.Event()

    def keep_asking() -> None:
        while not done.is_set():
            if post(port, PROBE, image, timeout=120.0) != 200:
                done.wait(0.05)

    clients = [threading.Thread(target=keep_asking) for _ in range(2 * workers + 1)]
    for client in clients:
        client.start()
    try:
        yield
    finally:
        done.set()
        for client in clients:
            client.join()


def _flood(
    process: Running, port: int, image: bytes, arguments: argparse.Namespace, sampler: Sampler, idle: Felt
) -> dict[str, Any]:
    url, pause = f"http://127.0.0.1:{port}/classify", threading.Event().wait
    capacity = load(url, image, content_type="image/png", connections=16, seconds=5.0).per_second
    before = process.memory_mib()
    with sampler:
        # Whoever is refused asks again at once.
        flood = load(
            url,
            image,
            content_type="image/png",
            connections=CONNECTIONS,
            seconds=arguments.flood_seconds,
        )
        ended = time.monotonic()
        during = process.memory_mib()
        pause(5.0)
    offered = flood.per_second + flood.failed / arguments.flood_seconds
    bound = 2 * idle.p99_ms / 1000
    return asdict(summary([one for one in sampler.samples if one.at < ended])) | {
        "capacity per second": capacity,
        "offered over capacity": offered / capacity,
        "answered per second": flood.per_second,
        "MiB before": before,
        "MiB at the end": during,
        "seconds to recovery": seconds_to_recovery(
            sampler.samples, since=ended, bound=bound, in_a_row=IN_A_ROW
        ),
    }


if __name__ == "__main__":
    main()
