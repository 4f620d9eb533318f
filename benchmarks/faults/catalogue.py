"""The faults: what is done, and how one knows that it is over."""

from __future__ import annotations

import http.client
import json
import shutil
import signal
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from benchmarks.faults.clients import Outcome, Request, ask_once, judge, until
from benchmarks.faults.target import BODY_DEADLINE_S, WORKERS, Target, copy_version, kill, write_keys
from export.bundle import WEIGHTS

STALLED = 20
"""Clients that stall or vanish at the same time."""
LIMIT_S = 60.0
LONG_PROBE = "/probe?steps=200&restarts=5&evidence=full&deadline_ms=20000"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault, in a run of its own.

    Attributes:
        what: what is done, for the table.
        do: does it, and returns once the service is as it is meant to be afterwards, or the server has ended;
            gives the requests that it made itself.
        clead: whether the server runs under `clead serve`.
        versions: of the model, at the start.
        ends: whether the server is to end.
    """

    what: str
    do: Callable[[Target], list[Request]]
    clead: bool = False
    versions: tuple[str, ...] = ("1",)
    ends: bool = False


class NotOver(Exception):
    """The service was not as it is meant to be in time."""


def _over(true: Callable[[], bool], what: str) -> None:
    if not until(true, limit_s=LIMIT_S):
        raise NotOver(f"{what}: not within {LIMIT_S:.0f} s")


def _kill_worker(target: Target) -> list[Request]:
    kill(victim := min(target.workers()))
    _over(lambda: len(target.workers() - {victim}) == WORKERS, "the worker was replaced")
    return []


def _kill_probers(target: Target) -> list[Request]:
    killed = target.probers()
    for pid in killed:
        kill(pid)
    own: list[Request] = []

    def replaced() -> bool:
        # On a new connection each time: so it comes to every worker.
        own.append(ask_once(target.port, target.probe))
        return len(set(target.probers()) - set(killed)) == len(killed)

    _over(replaced, "the processes were replaced")
    return own


def _terminate(target: Target) -> list[Request]:
    kill(target.process.pid, signal.SIGTERM)
    _over(lambda: target.get("/livez")[0] == 0, "the server ended")
    return []


def _add_version(target: Target) -> list[Request]:
    copy_version(target.version("1"), target.version("2"))
    _over(lambda: target.versions() == {"2"}, "the new version answered")
    return []


def _roll_back(target: Target) -> list[Request]:
    target.version("2").rename(target.version("2").with_name("2.withdrawn"))
    _over(lambda: target.versions() == {"1"}, "the earlier version answered")
    return []


def _remove_version(target: Target) -> list[Request]:
    shutil.rmtree(target.version("2"))
    _over(lambda: target.versions() == {"1"}, "the earlier version answered")
    return []


def _remove_model(target: Target) -> list[Request]:
    shutil.rmtree(target.version("1").parent)
    # Two looks at the folder, in which something could happen.
    time.sleep(3.0)
    _over(lambda: target.versions() == {"1"}, "it went on from memory")
    return []


def _add_damaged(target: Target) -> list[Request]:
    copy_version(target.version("1"), target.version("2"))
    weights = target.version("2") / WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-1000])
    _over(lambda: target.refused() == 1 and target.versions() == {"1"}, "the damaged version was refused")
    return []


def _overwrite(target: Target) -> list[Request]:
    with (target.version("1") / WEIGHTS).open("r+b") as weights:
        weights.truncate(1000)
    _over(lambda: target.refused() == 1 and target.versions() == {"1"}, "the damage was seen")
    return []


def _break_keys(target: Target) -> list[Request]:
    target.keys.write_text("this is no entry\n", encoding="utf-8")
    _over(lambda: target.metric("clead_keys_file_fault 1.0"), "the broken file was seen")
    write_keys(target.keys, target.key)
    _over(lambda: target.metric("clead_keys_file_fault 0.0"), "the file was taken up again")
    return []


def _stall(target: Target) -> list[Request]:
    """Clients that announce a body and send half of it."""
    answers: list[Request] = []

    def stall() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", target.port, timeout=10 * BODY_DEADLINE_S)
        sent = time.monotonic()
        outcome: Outcome = "lost"
        try:
            connection.putrequest("POST", "/classify")
            for name, value in {"Content-Length": str(len(target.image)), **target.headers}.items():
                connection.putheader(name, value)
            connection.endheaders(target.image[: len(target.image) // 2])
            response = connection.getresponse()
            headers = {name.lower(): value for name, value in response.getheaders()}
            outcome, why, _ = judge(response.status, headers, response.read(), member="predictions")
        except (OSError, http.client.HTTPException) as error:
            why = type(error).__name__
        finally:
            connection.close()
        ended = time.monotonic()
        answers.append(Request(path="/classify", sent=sent, ended=ended, outcome=outcome, why=why))

    threads = [threading.Thread(target=stall) for _ in range(STALLED)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def _vanish(target: Target) -> list[Request]:
    """Clients that ask for long probes and are gone while these wait or run."""
    lines = [f"POST {LONG_PROBE} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(target.image)}"]
    lines += [f"{name}: {value}" for name, value in target.headers.items()]
    head = "\r\n".join([*lines, "", ""]).encode()
    connections = [socket.create_connection(("127.0.0.1", target.port)) for _ in range(STALLED)]
    for connection in connections:
        connection.sendall(head + target.image)
    time.sleep(1.0)
    for connection in connections:
        connection.close()
    # One place may be taken by the probe of the steady client.
    _over(lambda: _probes_waiting(target) <= 1, "the places were free")
    return []


def _probes_waiting(target: Target) -> float:
    lines = target.get("/metrics")[1].decode().splitlines()
    found = [line for line in lines if line.startswith('clead_lane_occupied{lane="probe"}')]
    return float(json.loads(found[0].split()[-1])) if found else float("inf")


FAULTS: Mapping[str, Fault] = MappingProxyType(
    {
        "worker-killed": Fault(what="one of two workers killed with -9", do=_kill_worker),
        "probers-killed": Fault(what="both processes that probe killed with -9", do=_kill_probers),
        "drained": Fault(what="SIGTERM under `clead serve`", do=_terminate, clead=True, ends=True),
        "terminated": Fault(what="SIGTERM under plain `bentoml serve`", do=_terminate, ends=True),
        "version-added": Fault(what="a new version of the model added", do=_add_version),
        "rolled-back": Fault(
            what="the version in use renamed away, to the one before", do=_roll_back, versions=("1", "2")
        ),
        "version-removed": Fault(
            what="the files of the version in use deleted, one before left",
            do=_remove_version,
            versions=("1", "2"),
        ),
        "model-removed": Fault(what="the whole model deleted", do=_remove_model),
        "damaged-added": Fault(what="a damaged version added", do=_add_damaged),
        "damaged-in-use": Fault(what="the weights in use cut off in place", do=_overwrite),
        "keys-broken": Fault(what="the keys file replaced by a broken one, and back", do=_break_keys),
        "stalled": Fault(what=f"{STALLED} clients that stall in the middle of a body", do=_stall),
        "vanished": Fault(what=f"{STALLED} clients that vanish in the middle of a probe", do=_vanish),
    }
)
