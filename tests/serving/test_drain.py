"""The file that makes a server drain, as a worker and as whoever stops the server sees it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

from serving.drain import Drain, all_finished, begin_draining, drain_server, end_draining
from serving.settings import Settings
from tests.serving import pictures
from tests.serving.conftest import ROOT
from tests.serving.in_process import asking, started

GRACE_S = 60.0


def _drain(file: Path | None) -> Drain:
    return Drain(file, grace_s=GRACE_S)


def _age(file: Path, seconds: float) -> None:
    os.utime(file, (time.time() - seconds,) * 2)


def test_nothing_begins_before_there_is_a_file(tmp_path: Path) -> None:
    for file in (None, tmp_path / "drain", tmp_path / "nowhere" / "drain"):
        drain = _drain(file)
        drain.look(busy=True)
        assert not (drain.begun or drain.over)


def test_new_work_is_refused_once_the_grace_is_over(tmp_path: Path) -> None:
    drain = _drain(file := tmp_path / "drain")
    begin_draining(file)
    drain.look(busy=False)
    assert (drain.begun, drain.over) == (True, False)

    _age(file, GRACE_S)
    # Who begins again does not prolong it.
    begin_draining(file)
    drain.look(busy=False)
    assert (drain.begun, drain.over) == (True, True)

    # Who takes the file away does not keep the server from being stopped.
    end_draining(file)
    end_draining(file)
    drain.look(busy=False)
    assert (drain.begun, drain.over) == (True, True)


def test_who_touches_the_file_again_does_not_have_new_work_let_in_again(tmp_path: Path) -> None:
    drain = _drain(file := tmp_path / "drain")
    begin_draining(file)
    _age(file, GRACE_S)
    drain.look(busy=False)
    file.touch()
    drain.look(busy=False)
    assert (drain.over, drain.finished) == (True, True)
    assert all_finished(file)


def test_a_file_from_a_clock_that_is_ahead_does_not_prolong_the_grace(tmp_path: Path) -> None:
    drain = Drain(file := tmp_path / "drain", grace_s=0.0)
    begin_draining(file)
    _age(file, -3600.0)
    drain.look(busy=False)
    assert drain.over
    stopping = threading.Thread(
        target=drain_server,
        args=(file, threading.Event()),
        kwargs={"grace_s": 0.0, "limit_s": 60},
        daemon=True,
    )
    stopping.start()
    stopping.join(30)
    assert not stopping.is_alive()


def test_work_is_left_for_as_long_as_it_may_take_after_the_last_was_let_in(tmp_path: Path) -> None:
    drain = _drain(file := tmp_path / "drain")
    assert drain.work_left_s(100.0) == 100.0
    begin_draining(file)
    drain.look(busy=False)
    assert drain.work_left_s(100.0) == 100.0

    _age(file, GRACE_S + 40)
    drain.look(busy=True)
    assert 0.0 < drain.work_left_s(100.0) <= 60.0
    assert drain.work_left_s(10.0) == 0.0
    drain.look(busy=False)
    assert drain.work_left_s(100.0) == 0.0


CLAIM = (
    "import sys; from pathlib import Path; from serving.drain import claim; print(claim(Path(sys.argv[1])))"
)


def test_a_file_drains_one_server_at_a_time(tmp_path: Path) -> None:
    file = tmp_path / "drain"

    def claimed(by_another: Path = file) -> str:
        return subprocess.check_output([sys.executable, "-c", CLAIM, str(by_another)], cwd=ROOT, text=True)

    holder = subprocess.Popen(
        [sys.executable, "-c", f"{CLAIM}; sys.stdout.flush(); input()", str(file)],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert holder.stdout is not None and holder.stdout.readline() == "True\n"
    assert claimed() == "False\n"
    assert claimed(tmp_path / "other") == claimed(tmp_path / "nowhere" / "drain") == "True\n"
    holder.kill()
    holder.communicate()
    # However the other one ended; and nothing is left of who ended by itself.
    assert claimed() == claimed() == "True\n"
    assert list(tmp_path.iterdir()) == []


# The server before ends while this one takes its file, and removes it.
LATE_CLAIM = """
import sys
from pathlib import Path
from serving import drain

taken, take_lock = [], drain.take_lock

def late(file, **options):
    taken.append(take_lock(file, **options))
    if len(taken) == 1:
        file.unlink()
    return taken[-1]

drain.take_lock = late
print(drain.claim(Path(sys.argv[1])), len(taken), flush=True)
input()
"""


def test_a_server_that_claims_a_file_as_another_ends_is_found_by_a_third(tmp_path: Path) -> None:
    command = [sys.executable, "-c", LATE_CLAIM, str(tmp_path / "drain")]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "True 2\n"
        third = [sys.executable, "-c", CLAIM, str(tmp_path / "drain")]
        assert subprocess.check_output(third, cwd=ROOT, text=True) == "False\n"
        holder.communicate("\n")
    assert list(tmp_path.iterdir()) == []


def test_all_have_finished_when_no_worker_takes_or_has_work(tmp_path: Path) -> None:
    file = tmp_path / "drain"
    begin_draining(file)
    one, other = _drain(file), _drain(file)
    for worker in (one, other):
        worker.look(busy=False)
    assert not all_finished(file)

    _age(file, GRACE_S)
    one.look(busy=False)
    other.look(busy=True)
    assert not all_finished(file)
    # A worker that dies holds nothing any more either.
    other.close()
    assert all_finished(file)
    # Nobody keeps the lock that asking takes.
    other.look(busy=True)
    assert not all_finished(file)
    other.close()


def test_whoever_stops_the_server_waits_for_its_work_but_not_for_ever(tmp_path: Path) -> None:
    file = tmp_path / "drain"
    busy = Drain(file, grace_s=0.0)
    ended = threading.Event()
    waiting = threading.Thread(
        target=drain_server, args=(file, ended), kwargs={"grace_s": 0.0, "limit_s": 60}
    )
    waiting.start()
    while not busy.begun:
        busy.look(busy=True)
    waiting.join(1.0)
    assert waiting.is_alive()
    busy.look(busy=False)
    waiting.join(60)
    assert not waiting.is_alive()

    busy.look(busy=True)
    drain_server(file, ended, grace_s=0.0, limit_s=0.3)
    ended.set()
    drain_server(file, ended, grace_s=60.0, limit_s=60.0)
    busy.close()


def test_a_server_that_stops_has_begun_to_drain_with_or_without_the_file(tmp_path: Path) -> None:
    for drain in (_drain(None), _drain(tmp_path / "drain")):
        drain.stop()
        assert drain.begun
        drain.look(busy=True)
        assert drain.begun and not drain.over
        drain.close()


def test_a_request_that_was_let_in_is_finished_although_its_body_comes_late(
    models_dir: Path, tmp_path: Path
) -> None:
    file, image = tmp_path / "drain", pictures.plain()

    async def scenario() -> None:
        settings = Settings(models_dir=models_dir, probe=False, drain_file=file, drain_ms=0)
        async with started(settings) as (front, runtime), asking(front) as client, asyncio.timeout(60):

            async def body() -> AsyncIterator[bytes]:
                yield image[:10]
                begin_draining(file)
                while runtime.classify_lane.closed_because is None:
                    await asyncio.sleep(0.01)
                assert not all_finished(file)
                yield image[10:]

            late = await client.post("/classify", content=body(), headers={"Content-Type": "image/png"})
            new = await client.post("/classify", content=image, headers={"Content-Type": "image/png"})
            assert (late.status_code, new.status_code) == (200, 503)
            assert new.json()["code"] == "not_ready"
            while not all_finished(file):
                await asyncio.sleep(0.01)

    asyncio.run(scenario())
