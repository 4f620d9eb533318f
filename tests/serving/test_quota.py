"""The token bucket, on a clock of its own."""

from __future__ import annotations

import pytest

from serving.access.quota import Quota, draw, parse_quota, seconds

SECOND = 1_000_000_000
NOW = 1000 * SECOND


@pytest.mark.parametrize(
    ("rate", "burst", "quota"),
    [
        ("10/s", None, Quota(requests=10, period_s=1, burst=10)),
        ("100/min", "5", Quota(requests=100, period_s=60, burst=5)),
        ("5/h", "1", Quota(requests=5, period_s=3600, burst=1)),
    ],
)
def test_a_rate_is_read(rate: str, burst: str | None, quota: Quota) -> None:
    assert parse_quota(rate, burst) == quota


@pytest.mark.parametrize(
    "rate", ["", "10", "0/s", "-1/s", "1.5/s", "10/day", "10/s ", "99999999/s", "1000001/s", "٣/s"]
)
def test_another_rate_is_refused_with_what_is_accepted(rate: str) -> None:
    with pytest.raises(ValueError, match="10/s, 100/min or 5/h"):
        parse_quota(rate, None)


@pytest.mark.parametrize("burst", ["", "0", "-1", "many", "1000001", "1" * 5000, "²"])
def test_another_burst_is_refused(burst: str) -> None:
    with pytest.raises(ValueError, match="from 1 to 1000000"):
        parse_quota("10/s", burst)


def test_a_full_bucket_gives_the_burst_and_then_says_how_long_to_wait() -> None:
    quota = Quota(requests=2, period_s=1, burst=3)
    full_at, remaining = 0, []
    for _ in range(3):
        drawn = draw(full_at, now=NOW, quota=quota)
        assert drawn.wait == 0
        full_at = drawn.full_at
        remaining.append(drawn.remaining)

    refused = draw(full_at, now=NOW, quota=quota)

    assert remaining == [2, 1, 0]
    assert (refused.wait, refused.remaining, refused.full_in) == (SECOND // 2, 0, 3 * SECOND // 2)
    # A refusal costs nothing: the same wait again, and none once it is over.
    assert refused.full_at == full_at
    assert draw(full_at, now=NOW + SECOND // 2 - 1, quota=quota).wait == 1
    assert draw(full_at, now=NOW + SECOND // 2, quota=quota).wait == 0


def test_over_a_long_time_the_rate_is_kept_exactly() -> None:
    quota = Quota(requests=7, period_s=60, burst=4)
    full_at, granted = 0, 0
    for tick in range(600 * 10):
        drawn = draw(full_at, now=NOW + tick * SECOND // 10, quota=quota)
        full_at = drawn.full_at
        granted += drawn.wait == 0

    # The burst at first, and then 7 a minute for ten minutes.
    assert granted == 4 + 7 * 10 - 1


def test_a_pause_fills_the_bucket_and_no_more() -> None:
    quota = Quota(requests=1, period_s=1, burst=2)
    full_at = draw(0, now=NOW, quota=quota).full_at

    assert draw(full_at, now=NOW + 3600 * SECOND, quota=quota).remaining == 1


def test_what_an_older_quota_left_is_at_most_an_empty_bucket() -> None:
    slow, fast = Quota(requests=1, period_s=3600, burst=100), Quota(requests=10, period_s=1, burst=10)
    full_at = 0
    for _ in range(100):
        full_at = draw(full_at, now=NOW, quota=slow).full_at

    assert draw(full_at, now=NOW, quota=fast).wait == SECOND // 10


def test_seconds_are_rounded_up() -> None:
    assert [seconds(ns) for ns in (0, 1, SECOND, SECOND + 1)] == [0, 1, 1, 2]
    assert Quota(requests=3, period_s=1, burst=4).window_s == 2
