"""Room for bodies: bounded by number and memory, in all and for each caller, and empty again afterwards."""

from __future__ import annotations

import asyncio

import pytest
from starlette.types import Message

from serving.problems import Problem
from serving.settings import Settings
from serving.uploads.room import HeldBody, Room, UploadRoom, upload_room


def _taken(room: UploadRoom, caller: str, refusals: list[str], declared: int = 0) -> HeldBody:
    return room.take(caller, declared=declared, on_refusal=refusals.append)


def test_a_body_gives_its_place_back_when_it_has_arrived_and_its_bytes_with_the_answer() -> None:
    refusals: list[str] = []
    room = UploadRoom(whole=Room(bodies=1, size=10), each=Room(bodies=1, size=10))
    first = _taken(room, "a", refusals)
    with pytest.raises(Problem) as caught:
        _taken(room, "b", refusals)
    assert (caught.value.code, caught.value.headers) == ("overloaded", {"Retry-After": "1"})
    first.add(8)
    first.arrived()
    second = _taken(room, "b", refusals)
    second.add(2)
    with pytest.raises(Problem, match="10 bytes"):
        second.add(1)
    assert refusals == ["uploads", "bytes"]
    first.release()
    second.add(8)
    second.release()
    second.release()
    assert room.holders == 0
    _taken(room, "a", refusals).add(10)


def test_a_caller_is_refused_beyond_its_share_while_others_are_not() -> None:
    refusals: list[str] = []
    room = UploadRoom(whole=Room(bodies=9, size=9), each=Room(bodies=2, size=4))
    bodies = [_taken(room, "a", refusals) for _ in range(2)]
    with pytest.raises(Problem, match="2 bodies of yours"):
        _taken(room, "a", refusals)
    bodies[0].add(4)
    with pytest.raises(Problem, match="your bodies may take 4 bytes"):
        bodies[1].add(1)
    assert refusals == ["caller", "caller"]
    _taken(room, "b", refusals).add(4)
    for body in bodies:
        body.release()
    _taken(room, "a", refusals).add(4)


def test_a_body_that_announces_more_than_there_is_room_for_is_not_begun() -> None:
    refusals: list[str] = []
    room = UploadRoom(whole=Room(bodies=9, size=10), each=Room(bodies=9, size=10))
    _taken(room, "a", refusals).add(5)
    with pytest.raises(Problem):
        _taken(room, "b", refusals, declared=6)
    # What is only announced takes no room from anybody.
    bodies = [_taken(room, "b", refusals, declared=5) for _ in range(4)]
    bodies[0].add(5)
    assert refusals == ["bytes"]


def test_bytes_count_as_they_come() -> None:
    async def scenario() -> None:
        room = UploadRoom(whole=Room(bodies=1, size=5), each=Room(bodies=1, size=5))
        coming: list[Message] = [
            {"type": "http.request", "body": b"abc", "more_body": True},
            {"type": "http.request", "body": b"de", "more_body": False},
            {"type": "http.disconnect"},
        ]

        async def receive() -> Message:
            return coming.pop(0)

        held = room.take("a", declared=0, on_refusal=lambda _: None)
        counting = held.counting(receive)
        await counting()
        with pytest.raises(Problem):
            room.check(held, size=3)
        with pytest.raises(Problem):
            room.check(held, bodies=1)
        await counting()
        room.check(held, bodies=1)
        with pytest.raises(Problem):
            room.check(held, size=1)
        assert (await counting())["type"] == "http.disconnect"

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("workers", "whole", "each"),
    [
        (1, Room(100, 4000), Room(25, 1000)),
        (4, Room(25, 1000), Room(6, 500)),
        (8, Room(12, 500), Room(3, 500)),
    ],
)
def test_every_worker_has_its_share_and_every_caller_room_for_the_largest_body(
    workers: int, whole: Room, each: Room
) -> None:
    room = upload_room(Settings(workers=workers, uploads=100, upload_bytes=4000, max_body_bytes=500))

    assert (room._whole, room._each) == (whole, each)
