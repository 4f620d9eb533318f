"""Room for request bodies: how many may arrive at the same time, and how much memory they may take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from starlette.types import Message, Receive

from serving.problems import Problem
from serving.settings import Settings

RETRY_S = 1
"""Bodies come and go much faster than what is computed: nobody is told to wait longer for their room."""


class Room(NamedTuple):
    """Bodies that may be on their way at the same time, and bytes of bodies that may be in memory."""

    bodies: int
    size: int


@dataclass(slots=True)
class _Taken:
    holders: int = 0
    bodies: int = 0
    size: int = 0


class UploadRoom:
    """The room for the bodies of one worker, and for those of each caller. Used from one event loop.

    A body counts while it arrives; its bytes count until the answer to its request is made, though perhaps
    not sent yet.

    Args:
        whole: the room there is.
        each: of it, what one caller may take.
    """

    def __init__(self, *, whole: Room, each: Room) -> None:
        self._whole = whole
        self._each = each
        self._taken = _Taken()
        self._callers: dict[str, _Taken] = {}

    @property
    def holders(self) -> int:
        """Requests whose body is on its way or in memory."""
        return self._taken.holders

    def take(self, caller: str, *, declared: int, on_refusal: Callable[[str], None]) -> HeldBody:
        """Takes room for one body of a caller, to be released when the answer to its request is made.

        Args:
            declared: bytes that the request announces, 0 if it says nothing. They count as they come, but a
                body for which there is no room now is not begun.
            on_refusal: called with the reason, `uploads`, `bytes` or `caller`, whenever room is refused.

        Raises:
            Problem: overloaded, with Retry-After.
        """
        held = HeldBody(self, caller, self._callers.get(caller) or _Taken(), on_refusal)
        self.check(held, bodies=1, size=declared)
        self._callers[caller] = held.own
        self.count(held, holders=1, bodies=1)
        return held

    def check(self, held: HeldBody, *, bodies: int = 0, size: int = 0) -> None:
        """Raises Problem overloaded where there is no room for so much more; for `HeldBody`."""
        own, whole = held.own, self._taken
        if own.bodies + bodies > self._each.bodies:
            reason = f"{own.bodies} bodies of yours are on their way, of at most {self._each.bodies}"
        elif own.size + size > self._each.size:
            reason = f"your bodies may take {self._each.size} bytes at the same time"
        elif whole.bodies + bodies > self._whole.bodies:
            held.refuse("uploads", f"{whole.bodies} bodies are on their way already")
        elif whole.size + size > self._whole.size:
            held.refuse("bytes", f"the bodies of all requests may take {self._whole.size} bytes")
        else:
            return
        held.refuse("caller", reason)

    def count(self, held: HeldBody, *, holders: int = 0, bodies: int = 0, size: int = 0) -> None:
        """Counts so much more, or less; for `HeldBody`."""
        for taken in (self._taken, held.own):
            taken.holders += holders
            taken.bodies += bodies
            taken.size += size
        if not held.own.holders:
            del self._callers[held.caller]


class HeldBody:
    """The room that one request has taken for its body."""

    def __init__(self, room: UploadRoom, caller: str, own: _Taken, on_refusal: Callable[[str], None]) -> None:
        self.caller = caller
        self.own = own
        self._room = room
        self._on_refusal = on_refusal
        self._arriving = True
        self._size = 0
        self._released = False

    def counting(self, receive: Receive) -> Receive:
        """The messages of the request; Problem overloaded as soon as there is no room for its body."""

        async def counting() -> Message:
            message = await receive()
            if message["type"] == "http.request":
                self.add(len(message.get("body", b"")))
                if not message.get("more_body", False):
                    self.arrived()
            return message

        return counting

    def add(self, size: int) -> None:
        """So many more bytes have come.

        Raises:
            Problem: overloaded, with Retry-After: there is no room for them.
        """
        self._room.check(self, size=size)
        self._size += size
        self._room.count(self, size=size)

    def arrived(self) -> None:
        """The body has ended: another may come in its place."""
        if self._arriving:
            self._arriving = False
            self._room.count(self, bodies=-1)

    def release(self) -> None:
        """The body is not in memory any more. May be called again."""
        self.arrived()
        if not self._released:
            self._released = True
            self._room.count(self, holders=-1, size=-self._size)

    def refuse(self, reason: str, detail: str) -> None:
        """Raises Problem overloaded."""
        self._on_refusal(reason)
        raise Problem(
            "overloaded", f"{detail}: try again in {RETRY_S} s", headers={"Retry-After": str(RETRY_S)}
        )


def upload_room(settings: Settings) -> UploadRoom:
    """The room of one of the workers. Each caller has room for the largest body, at least."""
    bodies = settings.per_worker(settings.uploads, at_least=1)
    size = settings.per_worker(settings.upload_bytes, at_least=settings.max_body_bytes)
    each = Room(
        bodies=max(1, int(bodies * settings.upload_share)),
        size=max(settings.max_body_bytes, int(size * settings.upload_share)),
    )
    return UploadRoom(whole=Room(bodies=bodies, size=size), each=each)
