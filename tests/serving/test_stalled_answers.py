"""Clients that do not take their answers keep neither the memory of their bodies nor the room for them."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from starlette.types import Message, Scope

from serving.runtime import Runtime
from serving.settings import Settings
from tests.serving import pictures
from tests.serving.in_process import started

IMAGE = pictures.encoded(pictures.noise((40, 40)))


class _Stalled:
    """A request whose client takes nothing of the answer until `reads` is set."""

    def __init__(self, path: str, body: bytes, *headers: tuple[bytes, bytes]) -> None:
        self.scope: Scope = {
            "type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "query_string": b"",
            "root_path": "", "scheme": "http", "http_version": "1.1", "server": ("127.0.0.1", 80),
            "headers": [(b"host", b"localhost"), (b"content-type", b"image/png"), *headers],
        }  # fmt: skip
        self.reads, self.answered = asyncio.Event(), asyncio.Event()
        self.sent: list[Message] = []
        self._body = [body]

    async def receive(self) -> Message:
        if self._body:
            return {"type": "http.request", "body": self._body.pop(), "more_body": False}
        await asyncio.Event().wait()
        raise AssertionError("nobody sets this event")

    async def send(self, message: Message) -> None:
        self.answered.set()
        await self.reads.wait()
        self.sent.append(message)


def _run(
    scenario: Callable[[Runtime, Callable[..., Awaitable[None]]], Awaitable[None]], folder: Path
) -> None:
    async def body() -> None:
        async with started(Settings(models_dir=folder)) as (front, runtime), asyncio.timeout(30):
            await scenario(runtime, front)

    asyncio.run(body())


@pytest.fixture
def no_garbage_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize(
    ("path", "given", "status"),
    [
        ("/classify", IMAGE, 200),
        ("/classify", IMAGE[:-30], 422),
        ("/classify", bytes(3000), 415),
        ("/v2/models/colors/infer", b'{"inputs": []}' + bytes(3000), 400),
        ("/probe?eps=0", IMAGE, 200),
    ],
)
@pytest.mark.usefixtures("no_garbage_collection")
def test_an_answer_that_nobody_takes_needs_no_room_for_its_body(
    models_dir: Path, path: str, given: bytes, status: int
) -> None:
    path, _, query = path.partition("?")
    # A copy that nobody else can refer to.
    body = bytes(bytearray(given))
    before = sys.getrefcount(body)

    async def scenario(runtime: Runtime, front: Callable[..., Awaitable[None]]) -> None:
        client = _Stalled(path, body)
        client.scope["query_string"] = query.encode()
        task = asyncio.ensure_future(front(client.scope, client.receive, client.send))
        await client.answered.wait()
        assert not task.done()
        assert runtime.uploads.holders == 0
        # The thread that has computed it forgets it in a moment.
        while sys.getrefcount(body) > before:
            await asyncio.sleep(0.01)
        client.reads.set()
        await task
        assert client.sent[0]["status"] == status
        assert runtime.uploads.holders == 0

    _run(scenario, models_dir)


def test_a_probe_that_is_told_as_it_goes_on_keeps_its_room_until_its_end(models_dir: Path) -> None:
    async def scenario(runtime: Runtime, front: Callable[..., Awaitable[None]]) -> None:
        client = _Stalled("/probe", IMAGE, (b"accept", b"text/event-stream"))
        task = asyncio.ensure_future(front(client.scope, client.receive, client.send))
        await client.answered.wait()
        assert runtime.uploads.holders == 1
        client.reads.set()
        await task
        assert b"event: result" in client.sent[-2]["body"]
        assert runtime.uploads.holders == 0

    _run(scenario, models_dir)
