"""Headers that are found at once are those that Starlette finds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from serving.headers import RequestHeaders

NAMES = ("host", "content-length", "x-request-id", "traceparent")


@given(st.lists(st.tuples(st.sampled_from(NAMES).map(str.encode), st.binary(max_size=4))))
def test_each_header_is_the_one_that_starlette_finds(raw: list[tuple[bytes, bytes]]) -> None:
    ours, theirs = RequestHeaders({"headers": raw}), Headers(scope={"headers": raw})
    assert ours == theirs and ours.items() == theirs.items()
    for name in (*NAMES, "Content-Length", "X-Api-Key"):
        assert (name in ours) == (name in theirs)
        assert ours.get(name) == theirs.get(name)
        assert ours.get(name, "-") == theirs.get(name, "-")
        assert ours.getlist(name) == theirs.getlist(name)
        if name in ours:
            assert ours[name] == theirs[name]
