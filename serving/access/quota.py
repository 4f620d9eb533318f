"""How often one API key may ask: a token bucket, as arithmetic on the time at which it is full again."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

PERIODS_S: Mapping[str, int] = MappingProxyType({"s": 1, "min": 60, "h": 3600})
MOST = 1_000_000
_RATE = re.compile(r"([0-9]{1,7})/(s|min|h)")
_SECOND_NS = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """`requests` in every `period_s` seconds; after a pause, `burst` of them at once."""

    requests: int
    period_s: int
    burst: int

    def __str__(self) -> str:
        unit = next(unit for unit, period in PERIODS_S.items() if period == self.period_s)
        return f"{self.requests}/{unit}, {self.burst} at once"

    @property
    def interval_ns(self) -> int:
        """Nanoseconds in which one request is earned."""
        return self.period_s * _SECOND_NS // self.requests

    @property
    def window_s(self) -> int:
        """Seconds in which an empty bucket fills, rounded up."""
        return seconds(self.interval_ns * self.burst)


class Draw(NamedTuple):
    """What came of asking for one request; all times in nanoseconds.

    `full_at` is when the bucket is full if nothing more is drawn, `full_in` how long that is from now,
    `remaining` how many may still be drawn at once, and `wait` how long until one can be: 0 if this one was
    granted.
    """

    full_at: int
    full_in: int
    remaining: int
    wait: int


def parse_quota(rate: str, burst: str | None) -> Quota:
    """Reads a rate such as `10/s`, `100/min` or `5/h`, and a burst; without one, the requests of one period.

    Raises:
        ValueError: with what is accepted.
    """
    found = _RATE.fullmatch(rate)
    requests = int(found[1]) if found else 0
    if found is None or not 1 <= requests <= MOST:
        raise ValueError(
            f"rate= takes requests per second, minute or hour, as 10/s, 100/min or 5/h (1 to {MOST})"
        )
    at_once = requests if burst is None else _burst(burst)
    return Quota(requests=requests, period_s=PERIODS_S[found[2]], burst=at_once)


def draw(full_at: int, *, now: int, quota: Quota) -> Draw:
    """Draws one request from the bucket that is full at `full_at` (nanoseconds, on the clock of `now`).

    The generic cell rate algorithm (ITU-T I.371, annex A): one number is the whole state, so that nobody can
    leave it half-written. A bucket filled under an older, slower quota never owes more than one whole bucket.
    """
    interval = quota.interval_ns
    capacity = interval * quota.burst
    begin = min(max(full_at, now), now + capacity)
    after = begin + interval
    left = now + capacity - after
    if left < 0:
        return Draw(full_at=begin, full_in=begin - now, remaining=0, wait=-left)
    return Draw(full_at=after, full_in=after - now, remaining=left // interval, wait=0)


def seconds(nanoseconds: int) -> int:
    """Whole seconds, rounded up, as HTTP headers want them."""
    return math.ceil(nanoseconds / _SECOND_NS)


def _burst(text: str) -> int:
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= 7 else 0
    if not 1 <= number <= MOST:
        raise ValueError(f"burst= takes a whole number from 1 to {MOST}")
    return number
