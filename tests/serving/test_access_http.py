"""Keys, scopes, quotas and audit lines of a server with two workers; its keys file changes under it."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from serving.access.keys import entry_of, new_key
from serving.client import Client, ServerProblem
from tests.serving import pictures
from tests.serving.asking import ask, form
from tests.serving.conftest import Server, running_server

IMAGE = pictures.plain((140, 120, 10))
BURST = 5
# What each key may do; `late` is not in the file at first.
KEYS = {
    "alice": (("classify", "probe", "probe:images"), None),
    "bob": (("classify",), None),
    "carol": (("probe",), None),
    "dave": (("classify",), f"{BURST}/h"),
    "late": (("classify",), None),
}

FIRST = ("alice", "bob", "carol", "dave")


@dataclass(frozen=True, slots=True, kw_only=True)
class Keyed:
    """A server with keys: the keys by name, and the file that holds their entries."""

    server: Server
    keys: dict[str, str]
    file: Path

    def client(self, name: str) -> Client:
        return Client(self.server.url, key=self.keys[name])

    def write(self, *names: str) -> None:
        _write(self.file, {name: self.keys[name] for name in names})

    def answers(self, name: str, times: int = 20) -> set[str]:
        """How some requests with a key are answered; there are so many that both workers have theirs."""
        return {self._answer(name) for _ in range(times)}

    def metrics(self) -> str:
        return ask(
            self.server.port, "GET", "/metrics", headers={"X-API-Key": self.keys["alice"]}
        ).body.decode()

    def _answer(self, name: str) -> str:
        try:
            self.client(name).models()
        except ServerProblem as problem:
            return problem.code
        return "ok"


@pytest.fixture(scope="module")
def keyed(models_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keyed]:
    folder = tmp_path_factory.mktemp("keyed")
    file, keys = folder / "keys", {name: new_key() for name in KEYS}
    settings = {"CLEAD_MODELS_DIR": str(models_dir), "CLEAD_WORKERS": "2", "CLEAD_KEYS_FILE": str(file)}
    _write(file, {name: keys[name] for name in FIRST})
    with running_server(folder / "home", settings) as server:
        keyed = Keyed(server=server, keys=keys, file=file)
        _until(lambda: len(_workers(keyed)) == 2)
        yield keyed


def _write(file: Path, keys: Mapping[str, str]) -> None:
    entries = [
        entry_of(key, name=name, scopes=KEYS[name][0], rate=KEYS[name][1], burst=None)
        for name, key in keys.items()
    ]
    file.write_text("\n".join(entries) + "\n")


def _until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.05)


def _workers(keyed: Keyed) -> set[int]:
    replies = [ask(keyed.server.port, "GET", "/readyz") for _ in range(20)]
    return {reply.json["worker"] for reply in replies} if all(r.status == 200 for r in replies) else set()


def test_each_key_may_do_what_its_scopes_say(keyed: Keyed) -> None:
    assert keyed.client("bob").classify(IMAGE).predictions[0].label == "red"
    assert keyed.client("carol").probe(IMAGE, eps="12/255", deadline_ms=30_000)["verdict"] == "flipped"
    for name, refused in (("bob", "probe"), ("carol", "classify")):
        with pytest.raises(ServerProblem) as caught:
            getattr(keyed.client(name), refused)(IMAGE)
        assert (caught.value.status, caught.value.code) == (403, "forbidden")
        assert caught.value.body["scope"] == refused
    with pytest.raises(ServerProblem) as caught:
        keyed.server.client.classify(IMAGE)
    assert caught.value.code == "unauthorized"


def test_adversarial_images_are_for_keys_with_their_scope(keyed: Keyed) -> None:
    images = keyed.client("alice").probe(IMAGE, eps="12/255", include="adversarial", deadline_ms=30_000)[
        "images"
    ]
    assert images["adversarial"].startswith("data:image/png")

    body, content_type = form([("image", "a.png", IMAGE), ("include", None, b"difference")])
    headers = {"X-API-Key": keyed.keys["carol"]}
    in_form = ask(keyed.server.port, "POST", "/probe", body, content_type, headers)
    in_query = ask(keyed.server.port, "POST", "/probe?include=adversarial", IMAGE, "image/png", headers)

    for reply in (in_form, in_query):
        assert (reply.status, reply.json["code"], reply.json["scope"]) == (403, "forbidden", "probe:images")
        assert "leave out include" in reply.json["detail"]


def test_a_refusal_does_not_wait_for_the_body(keyed: Keyed) -> None:
    headers = {"X-API-Key": keyed.keys["bob"], "Content-Length": "1000000"}

    assert ask(keyed.server.port, "POST", "/probe", b"", "image/png", headers).status == 403


def test_a_quota_holds_for_both_workers_together_and_outlives_one(keyed: Keyed) -> None:
    granted = 0
    for _ in range(BURST * 6):
        try:
            keyed.client("dave").classify(IMAGE)
            granted += 1
        except ServerProblem as caught:
            problem = caught
    assert granted == BURST
    assert (problem.status, problem.code) == (429, "rate_limited")
    assert problem.retry_after is not None and 0 < problem.retry_after <= 3600 / BURST
    reply = ask(keyed.server.port, "GET", "/models", headers={"X-API-Key": keyed.keys["dave"]})
    assert reply.headers["ratelimit"].startswith('"key";r=0;t=')
    assert reply.headers["ratelimit-policy"] == f'"key";q={BURST};w=3600'

    # The file breaks, and then a worker dies: the next one knows the keys, and what has been drawn.
    keyed.file.write_text("broken\n")
    _until(lambda: "clead_keys_file_fault 1.0" in keyed.metrics())
    workers = _workers(keyed)
    os.kill(min(workers), signal.SIGKILL)
    _until(lambda: len(_workers(keyed) - {min(workers)}) == 2)
    assert keyed.answers("dave") == {"rate_limited"}
    assert keyed.answers("bob") == {"ok"}
    assert keyed.answers("late") == {"unauthorized"}

    keyed.write(*FIRST)
    _until(lambda: "clead_keys_file_fault 0.0" in keyed.metrics())


def test_the_keys_file_is_taken_up_by_both_workers(keyed: Keyed) -> None:
    keyed.write("alice", "dave", "late")
    _until(lambda: keyed.answers("late") == {"ok"})
    assert keyed.answers("bob") == {"unauthorized"}

    keyed.file.unlink()
    _until(lambda: "clead_keys_file_fault 1.0" in keyed.metrics())
    assert keyed.answers("late") == {"ok"}
    assert ask(keyed.server.port, "GET", "/models").status == 401

    keyed.write(*FIRST)
    _until(lambda: keyed.answers("bob") == {"ok"})


def test_every_probe_leaves_a_line_and_no_line_has_a_key(keyed: Keyed) -> None:
    for name, identity in (("carol", "audit-1"), ("bob", "audit-2")):
        headers = {"X-API-Key": keyed.keys[name], "X-Request-ID": identity}
        ask(keyed.server.port, "POST", "/probe?eps=12/255", IMAGE, "image/png", headers)

    def lines() -> list[dict[str, object]]:
        objects = [json.loads(line) for line in keyed.server.log.read_text().splitlines() if line[:1] == "{"]
        return [line for line in objects if str(line.get("request_id")).startswith("audit-")]

    _until(lambda: len(lines()) == 4)
    audits = [line for line in lines() if line["message"] == "audit"]
    assert [(line["key"], line["status"], line["verdict"]) for line in audits] == [
        ("carol", 200, "flipped"),
        ("bob", 403, None),
    ]
    assert {line["client"] for line in audits} == {"127.0.0.1"}
    assert {line["key"] for line in lines() if line["message"] == "request"} == {"carol", "bob"}
    log = keyed.server.log.read_text()
    assert not any(key in log for key in keyed.keys.values())
