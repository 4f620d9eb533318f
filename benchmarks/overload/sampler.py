"""A client that asks at a steady pace, whatever the answers take, and so feels what any new request would."""

from __future__ import annotations

import http.client
import math
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

NO_ANSWER = 0
"""The status of a request that got none: refused, reset, or too late."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One request: when it was sent (monotonic clock), its status, and the seconds until its answer ended."""

    at: float
    status: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Felt:
    """What a steady client felt. Percentiles in milliseconds, of the requests that were answered 200."""

    statuses: dict[int, int]
    median_ms: float
    p99_ms: float


def summary(samples: Sequence[Sample]) -> Felt:
    """Counts and percentiles; NaN where nothing was answered 200."""
    answered = sorted(one.seconds for one in samples if one.status == 200)
    return Felt(
        statuses=dict(sorted(Counter(one.status for one in samples).items())),
        median_ms=1000 * percentile(answered, 0.5),
        p99_ms=1000 * percentile(answered, 0.99),
    )


def percentile(ascending: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of them does not exceed; NaN of none."""
    return ascending[max(0, math.ceil(share * len(ascending)) - 1)] if ascending else math.nan


def seconds_to_recovery(samples: Sequence[Sample], *, since: float, bound: float, in_a_row: int) -> float:
    """From `since` to the first of so many requests in a row that were answered 200 within `bound` seconds;
    inf if there are none."""
    later = sorted((one for one in samples if one.at >= since), key=lambda one: one.at)
    for start in range(len(later) - in_a_row + 1):
        if all(one.status == 200 and one.seconds <= bound for one in later[start : start + in_a_row]):
            return later[start].at - since
    return math.inf


class Sampler:
    """Posts `body` to a path every `interval` seconds while it is entered, on a new connection each time."""

    def __init__(self, port: int, path: str, body: bytes, *, interval: float, timeout: float = 30.0) -> None:
        self.samples: list[Sample] = []
        self._target = (port, path, body)
        self._interval = interval
        self._timeout = timeout
        self._stop = threading.Event()
        self._pacer = threading.Thread(target=self._pace)

    def __enter__(self) -> Sampler:
        self._pacer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._pacer.join()

    def _pace(self) -> None:
        following = time.monotonic()
        with ThreadPoolExecutor(64) as threads:
            while not self._stop.wait(max(0.0, following - time.monotonic())):
                threads.submit(self._ask)
                following += self._interval

    def _ask(self) -> None:
        port, path, body = self._target
        sent = time.monotonic()
        status = post(port, path, body, timeout=self._timeout)
        self.samples.append(Sample(at=sent, status=status, seconds=time.monotonic() - sent))


def post(port: int, path: str, body: bytes, *, timeout: float) -> int:
    """The status of one POST of an image, read to its end."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("POST", path, body, {"Content-Type": "image/png"})
        response = connection.getresponse()
        response.read()
        return response.status
    except (OSError, http.client.HTTPException):
        return NO_ANSWER
    finally:
        connection.close()
