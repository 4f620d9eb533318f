"""Messages over a pipe arrive whole or not at all."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest

from serving.probing.frames import read_frame, write_frame


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    yield reading, writing
    for end in (reading, writing):
        try:
            os.close(end)
        except OSError:
            continue


def test_messages_arrive_in_order_however_large(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    large = os.urandom(3_000_000)
    sent = [({"kind": "a", "text": "\ud800é"}, b""), ({"kind": "b"}, large), ({}, b"end")]

    def write() -> None:
        for head, body in sent:
            write_frame(writing, head, body)

    thread = threading.Thread(target=write)
    thread.start()
    got = [read_frame(reading) for _ in sent]
    thread.join()
    assert got == sent


@pytest.mark.parametrize("left", [0, 3, 8, 12, 20])
def test_a_message_that_is_cut_off_is_none(pipe: tuple[int, int], left: int) -> None:
    reading, writing = pipe
    aside = os.pipe()
    write_frame(aside[1], {"kind": "a"}, b"body")
    whole = os.read(aside[0], 100)
    for end in aside:
        os.close(end)
    assert left < len(whole)
    os.write(writing, whole[:left])
    os.close(writing)
    assert read_frame(reading) is None


def test_nobody_reads(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    os.close(reading)
    with pytest.raises(BrokenPipeError):
        write_frame(writing, {})
