"""A keys file that changes, breaks and goes away under a running server."""

from __future__ import annotations

import asyncio
import hashlib
import os
from pathlib import Path

import pytest

from serving.access import keys_watch
from serving.access.keys import KeysError
from serving.access.keys_watch import WatchedKeys


def _entry(key: str) -> str:
    return f"{hashlib.sha256(key.encode()).hexdigest()} name={key}"


class _Watched:
    """A file with the key `old`, watched; `faults` is what was told about the file."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "keys"
        self.file.write_text(_entry("old") + "\n")
        self.copy = folder / "copy"
        self.faults: list[bool] = []
        self.keys = self.start()

    def start(self) -> WatchedKeys:
        return WatchedKeys([_entry("fixed")], self.file, copy=self.copy, on_fault=self.faults.append)

    def accepted(self) -> list[str]:
        return [key for key in ("fixed", "old", "new") if self.keys.ring.find(key)]

    def look_until_at_rest(self) -> None:
        for _ in range(2):
            self.keys.look()


@pytest.fixture
def watched(tmp_path: Path) -> _Watched:
    return _Watched(tmp_path)


def test_a_change_is_taken_up(watched: _Watched) -> None:
    assert watched.accepted() == ["fixed", "old"]

    watched.file.write_text(_entry("new") + "\n")
    watched.look_until_at_rest()

    assert watched.accepted() == ["fixed", "new"]
    assert watched.faults == [False]


def test_a_file_that_is_still_being_written_is_left_alone(watched: _Watched) -> None:
    for step in range(5):
        watched.file.write_text(_entry("new") + "\n" * step)
        watched.keys.look()
        assert watched.accepted() == ["fixed", "old"]

    watched.keys.look()

    assert watched.accepted() == ["fixed", "new"]


def test_a_file_that_takes_another_ones_place_is_seen(watched: _Watched) -> None:
    other = watched.file.with_name("other")
    other.write_text(_entry("new") + "\n")
    before = watched.file.stat()
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))

    other.replace(watched.file)
    watched.look_until_at_rest()

    assert watched.accepted() == ["fixed", "new"]


@pytest.mark.parametrize("content", [b"", b"# none\n", b"no key\n", b"\xff\xfe", None])
def test_a_file_that_cannot_be_used_changes_nothing_until_it_can(
    watched: _Watched, content: bytes | None
) -> None:
    if content is None:
        watched.file.unlink()
    else:
        watched.file.write_bytes(content)
    for _ in range(4):
        watched.look_until_at_rest()

    assert watched.accepted() == ["fixed", "old"]
    assert set(watched.faults) == {True}

    watched.file.write_text(_entry("new") + "\n")
    watched.look_until_at_rest()

    assert watched.accepted() == ["fixed", "new"]
    assert watched.faults[-1] is False


def test_a_fault_is_logged_once(watched: _Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    logged: list[str] = []
    monkeypatch.setattr(keys_watch._LOG, "error", lambda message, fault: logged.append(fault))

    watched.file.write_text("my-secret-key\n")
    for _ in range(5):
        watched.look_until_at_rest()

    assert len(logged) == 1
    assert "line 1" in logged[0]
    assert "my-secret-key" not in logged[0]


def test_a_file_that_becomes_readable_again_as_it_was_is_no_fault_any_more(watched: _Watched) -> None:
    hidden = watched.file.rename(watched.file.with_name("hidden"))
    watched.look_until_at_rest()
    hidden.rename(watched.file)
    watched.look_until_at_rest()

    assert watched.faults == [True, False]


def test_a_worker_that_starts_while_the_file_is_broken_has_the_last_usable_keys(watched: _Watched) -> None:
    watched.file.write_text("no key\n")
    watched.faults.clear()

    watched.keys = watched.start()

    assert watched.accepted() == ["fixed", "old"]
    assert watched.faults == [True]
    assert watched.copy.stat().st_mode & 0o077 == 0
    watched.file.write_text(_entry("new") + "\n")
    watched.look_until_at_rest()
    assert watched.accepted() == ["fixed", "new"]
    assert watched.faults[-1] is False


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read"),
        (b"", "holds no key"),
        (b"\xff", "cannot be read"),
        (b"x", "line 1"),
        (b"#" * 100, "larger than 99 bytes"),
    ],
)
def test_a_server_does_not_start_on_such_a_file(
    tmp_path: Path, content: bytes | None, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys_watch, "MAX_BYTES", 99)
    file = tmp_path / "keys"
    if content is not None:
        file.write_bytes(content)

    with pytest.raises(KeysError, match=words) as caught:
        WatchedKeys([], file)

    assert str(file) in str(caught.value)


def test_the_watch_takes_changes_up_by_itself(watched: _Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys_watch, "LOOK_S", 0.001)

    async def scenario() -> None:
        watch = asyncio.create_task(watched.keys.watch())
        watched.file.write_text(_entry("new") + "\n")
        async with asyncio.timeout(60):
            while watched.accepted() != ["fixed", "new"]:
                await asyncio.sleep(0.001)
        watch.cancel()

    asyncio.run(scenario())


def test_without_a_file_there_is_nothing_to_watch() -> None:
    keys = WatchedKeys([_entry("fixed")], None)
    keys.look()

    asyncio.run(keys.watch())
    assert keys.ring.find("fixed")
