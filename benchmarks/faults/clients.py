"""Ordinary clients that keep asking, and say what became of every request."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

PROBLEM = "application/problem+json"
SAYS_WHEN = frozenset({429, 503, 504})
"""Statuses whose answers must say when to come back."""
TIMEOUT_S = 30.0
Outcome = Literal["answered", "refused", "lost", "unconnected"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request, and what became of it; times on the monotonic clock.

    Attributes:
        outcome: answered with 200 as it should be; refused by a problem that says what to do; lost: the
            connection broke, no answer came, or not one of these; unconnected: the server took no connection,
            so that nothing was sent.
        why: the code of the problem, or how the request was lost; "" where it was answered.
        version: of the model that answered.
    """

    path: str
    sent: float
    ended: float
    outcome: Outcome
    why: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a client sends: the path, an image, and headers."""

    path: str
    image: bytes
    headers: Mapping[str, str]
    member: str
    """What the JSON of an answer has besides the model."""


def judge(status: int, headers: Mapping[str, str], body: bytes, *, member: str) -> tuple[Outcome, str, str]:
    """Outcome, why, and the version that answered.

    Args:
        headers: names in lower case.
        member: what the JSON of a 200 must have besides the model.
    """
    try:
        content: Any = json.loads(body)
        if status == 200:
            return (
                ("answered", "", str(content["model"]["version"])) if content[member] else _malformed(status)
            )
        code = str(content["code"])
    except (ValueError, KeyError, TypeError):
        return _malformed(status)
    told_when = status not in SAYS_WHEN or headers.get("retry-after", "").isdigit()
    if headers.get("content-type") != PROBLEM or not told_when or status < 400 or code == "internal_error":
        return _malformed(status)
    return "refused", code, ""


def _malformed(status: int) -> tuple[Outcome, str, str]:
    return "lost", f"malformed {status}", ""


class Clients:
    """Clients that ask while this is entered, each over one connection that it keeps while the server does.

    Attributes:
        requests: all that have ended so far.

    Args:
        asked: what each client sends, one after the other.
        pause_s: between an answer and the next request.
    """

    def __init__(self, port: int, asked: list[Asked], *, pause_s: float) -> None:
        self.requests: list[Request] = []
        self._port = port
        self._pause_s = pause_s
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._keep_asking, args=(one,)) for one in asked]

    def __enter__(self) -> Clients:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    @property
    def all_gone(self) -> bool:
        """Whether every client has found that the server takes no connections any more."""
        return not any(thread.is_alive() for thread in self._threads)

    def _keep_asking(self, asked: Asked) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=TIMEOUT_S)
        try:
            while not self._stop.is_set():
                self.requests.append(request := ask(connection, asked))
                if request.outcome == "unconnected":
                    return
                self._stop.wait(self._pause_s)
        finally:
            connection.close()


def ask(connection: http.client.HTTPConnection, asked: Asked) -> Request:
    """Sends one request, on a new connection where there is none or the server has announced to close it."""
    sent = time.monotonic()

    def ended(outcome: Outcome, why: str = "", version: str = "") -> Request:
        return Request(
            path=asked.path, sent=sent, ended=time.monotonic(), outcome=outcome, why=why, version=version
        )

    try:
        if connection.sock is None:
            connection.connect()
    except OSError:
        return ended("unconnected", "no connection")
    try:
        connection.request("POST", asked.path, asked.image, {"Content-Type": "image/png", **asked.headers})
        response = connection.getresponse()
        body = response.read()
    except (OSError, http.client.HTTPException) as error:
        connection.close()
        return ended("lost", type(error).__name__)
    headers = {name.lower(): value for name, value in response.getheaders()}
    return ended(*judge(response.status, headers, body, member=asked.member))


def ask_once(port: int, asked: Asked) -> Request:
    """One request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    try:
        return ask(connection, asked)
    finally:
        connection.close()


def until(true: Callable[[], bool], *, limit_s: float) -> bool:
    """Waits until something is true; False if it never was within `limit_s` seconds."""
    deadline = time.monotonic() + limit_s
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
