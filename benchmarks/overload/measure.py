"""One server, left alone, beside probes, and flooded."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.overload.sampler import Felt, Sampler, post, seconds_to_recovery, summary
from benchmarks.server_process import Running
from benchmarks.serving_load.wrk import load
from serving.refusal_pace import HOLD_S

PROBE = "/probe?steps=100&restarts=5&evidence=full"
IN_A_ROW = 5
CONNECTIONS = 1500
"""Several times as many as the server has places; fewer than the 2048 that can wait to be accepted, for the
kernel lets others try again after seconds."""
PATIENCE_S = 60.0
"""Of the flood's clients: longer than any answer may take, so that one without an answer had none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How long and how much: `seconds` idle and beside probes; a flood of `times` the server's capacity for
    `flood_seconds`; a steady client that asks every `interval` seconds."""

    workers: int
    seconds: float
    flood_seconds: float
    times: float
    interval: float


def measure(process: Running, port: int, image: bytes, plan: Plan) -> dict[str, Any]:
    """The report of one server that was just started."""

    def steady() -> Sampler:
        return Sampler(port, "/classify", image, interval=plan.interval)

    process.settle(limit=60.0)
    with steady() as calm:
        threading.Event().wait(plan.seconds)
    idle = summary(calm.samples)
    with _saturated(port, image, plan.workers), steady() as beside:
        threading.Event().wait(plan.seconds)
    probed = summary(beside.samples)
    return {
        "idle": asdict(idle),
        "beside_probes": asdict(probed) | {"p99_over_idle": probed.p99_ms / idle.p99_ms},
        "flooded": _flood(process, port, image, plan, steady(), idle),
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
    process: Running, port: int, image: bytes, plan: Plan, sampler: Sampler, idle: Felt
) -> dict[str, Any]:
    url, pause = f"http://127.0.0.1:{port}/classify", threading.Event().wait
    capacity = load(url, image, content_type="image/png", connections=16, seconds=5.0).per_second
    pause(2.0)
    before = process.memory_mib()
    with sampler:
        flood = load(
            url,
            image,
            content_type="image/png",
            connections=CONNECTIONS,
            seconds=plan.flood_seconds,
            # Nearly all of them are refused, and most of those only after a while.
            pause=max(0.0, CONNECTIONS / (plan.times * capacity) - HOLD_S),
            timeout=PATIENCE_S,
        )
        ended = time.monotonic()
        during = process.memory_mib()
        pause(5.0)
    offered = flood.per_second + flood.failed / plan.flood_seconds
    bound = 2 * idle.p99_ms / 1000
    return asdict(summary([one for one in sampler.samples if one.at < ended])) | {
        "seconds": plan.flood_seconds,
        "capacity_per_second": capacity,
        "offered_over_capacity": offered / capacity,
        "answered_per_second": flood.per_second,
        "unanswered": flood.unanswered,
        "memory_mib_before": before,
        "memory_mib_at_the_end": during,
        "seconds_to_recovery": seconds_to_recovery(
            sampler.samples, since=ended, bound=bound, in_a_row=IN_A_ROW
        ),
    }
