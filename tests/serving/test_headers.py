"""Headers that are found at once are those that Starlette finds."""

from __future__ import annotations

import tracemalloc

from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from serving.headers import MOST_FOUND_AT_ONCE, RequestHeaders

NAMES = ("host", "content-length", "x-request-id", "traceparent")


@given(
    st.lists(st.tuples(st.sampled_from(NAMES).map(str.encode), st.binary(max_size=4))),
    st.sampled_from([0, MOST_FOUND_AT_ONCE]),
)
def test_each_header_is_the_one_that_starlette_finds(raw: list[tuple[bytes, bytes]], others: int) -> None:
    raw = [(b"x-other", b"")] * others + raw
    ours, theirs = RequestHeaders({"headers": raw}), Headers(scope={"headers": raw})
    assert ours == theirs and ours.items() == theirs.items()
    for name in (*NAMES, "Content-Length", "X-Api-Key"):
        assert (name in ours) == (name in theirs)
        assert ours.get(name) == theirs.get(name)
        assert ours.get(name, "-") == theirs.get(name, "-")
        assert ours.getlist(name) == theirs.getlist(name)
        if name in ours:
            assert ours[name] == theirs[name]


def test_a_head_of_very_many_headers_is_not_taken_down_again() -> None:
    raw = [(str(number).encode(), b"") for number in range(100_000)]
    tracemalloc.start()
    headers = RequestHeaders({"headers": raw})
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert headers["99999"] == ""
    # Starlette's list of them alone.
    assert peak < 12 * len(raw)
