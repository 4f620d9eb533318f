"""The fault benchmark counts every request as what became of it, and its page says what its results say."""

from __future__ import annotations

import http.client
import http.server
import itertools
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.faults.__main__ import RESULTS, main
from benchmarks.faults.catalogue import FAULTS
from benchmarks.faults.clients import PROBLEM, Asked, Clients, Outcome, Request, ask_once, judge, until
from benchmarks.faults.fuzzers import ACCEPTS, FuzzersError, counted
from benchmarks.faults.outcome import as_json, measured, read_results, write_results
from benchmarks.faults.page import write_page
from benchmarks.faults.target import MOST_ASKED, Target
from benchmarks.server_process import free_port

DOCS = Path(__file__).resolve().parents[2] / "docs"
ANSWER = {"model": {"version": "2"}, "predictions": [1]}
FULL = {"code": "overloaded"}


@pytest.mark.parametrize(
    ("status", "headers", "body", "outcome", "why"),
    [
        (200, {}, ANSWER, "answered", ""),
        (200, {}, {"predictions": [1]}, "lost", "malformed 200"),
        (200, {}, ANSWER | {"predictions": []}, "lost", "malformed 200"),
        (503, {"content-type": PROBLEM, "retry-after": "1"}, FULL, "refused", "overloaded"),
        (503, {"content-type": PROBLEM}, FULL, "lost", "malformed 503"),
        (503, {"content-type": "application/json", "retry-after": "1"}, FULL, "lost", "malformed 503"),
        (408, {"content-type": PROBLEM}, {"code": "body_timeout"}, "refused", "body_timeout"),
        (500, {"content-type": PROBLEM}, {"code": "internal_error"}, "lost", "malformed 500"),
        (302, {"content-type": PROBLEM}, FULL, "lost", "malformed 302"),
    ],
)
def test_only_a_whole_answer_or_a_whole_problem_is_not_lost(
    status: int, headers: dict[str, str], body: object, outcome: str, why: str
) -> None:
    judged = judge(status, headers, json.dumps(body).encode(), member="predictions")
    assert judged == (outcome, why, "2" if outcome == "answered" else "")
    assert judge(status, headers, b"\xff", member="predictions")[0] == "lost"


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    asked: list[str] = []  # noqa: RUF012

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.asked.append(self.path)
        if self.path == "/reset":
            self.close_connection = True
            return
        body = json.dumps(ANSWER).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        if self.path == "/close":
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing is to be printed."""


@pytest.fixture
def port() -> Iterator[int]:
    _Handler.asked.clear()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def _asked(path: str) -> Asked:
    return Asked(path=path, image=b"image", headers={}, member="predictions")


def test_clients_have_every_request_that_reached_the_server(port: int) -> None:
    paths = ["/classify", "/reset", "/close"]
    with Clients(port, [_asked(path) for path in paths], pause_s=0.001) as clients:
        assert until(lambda: {one.path for one in clients.requests} == set(paths), limit_s=30.0)
        assert until(lambda: len(clients.requests) > 30, limit_s=30.0)
    assert sorted(one.path for one in clients.requests) == sorted(_Handler.asked)
    assert {(one.path, one.outcome) for one in clients.requests} == {
        ("/classify", "answered"),
        ("/reset", "lost"),
        ("/close", "answered"),
    }
    assert {one.why for one in clients.requests if one.outcome == "lost"} == {
        http.client.RemoteDisconnected.__name__
    }


def test_a_client_that_finds_no_server_has_sent_nothing_and_ends() -> None:
    with Clients(free_port(), [_asked("/classify")], pause_s=0.0) as clients:
        assert until(lambda: clients.all_gone, limit_s=30.0)
    assert [one.outcome for one in clients.requests] == ["unconnected"]


def test_a_connection_that_is_taken_and_never_answered_is_lost() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        found: list[Request] = []
        port = listener.getsockname()[1]
        thread = threading.Thread(target=lambda: found.append(ask_once(port, _asked("/classify"))))
        thread.start()
        listener.accept()[0].close()
        thread.join()
    assert [one.outcome for one in found] == ["lost"]


def _request(outcome: Outcome, ended: float, why: str = "") -> Request:
    return Request(path="/classify", sent=ended - 0.5, ended=ended, outcome=outcome, why=why)


def test_what_was_under_way_when_the_fault_began_counts() -> None:
    requests = [
        _request("lost", 9.9, "before"),
        _request("answered", 10.2),
        _request("refused", 11.0, "not_ready"),
        _request("lost", 13.0, "ConnectionResetError"),
        _request("answered", 14.0),
        _request("unconnected", 15.0),
    ]
    one = measured("drained", requests, begun=10.0, over=12.0)
    assert (one.requests, one.answered, one.unconnected) == (4, 2, 1)
    assert (one.refused, one.lost) == ({"not_ready": 1}, {"ConnectionResetError": 1})
    assert one.seconds == 3.0
    assert measured("drained", requests[:3], begun=10.0, over=12.0).seconds == 2.0


@pytest.mark.parametrize(("said", "asked"), [([7] * 20 + [8], 21), ([7], MOST_ASKED)])
def test_the_target_asks_until_every_worker_has_answered(
    monkeypatch: pytest.MonkeyPatch, said: list[int], asked: int
) -> None:
    answers = [json.dumps({"worker": worker}).encode() for worker in said]
    asking = itertools.chain(answers, itertools.repeat(answers[-1]))
    monkeypatch.setattr(Target, "get", lambda *_: (200, next(asking)))
    target = object.__new__(Target)
    assert [answer["worker"] for answer in target.ready()] == [*said, *[7] * (asked - len(said))]


def test_the_cases_of_a_report_are_summed_by_test() -> None:
    names = list(ACCEPTS)
    case = '<testcase name="{}"><properties><property name="cases" value="{}"/></properties>{}</testcase>'
    cases = [case.format(names[0], 7, ""), case.format(names[1], 5, "<failure/>")]
    cases += [case.format(f"{names[2]}[get-/{number}]", 10, "") for number in range(3)]
    report = f"<testsuites><testsuite>{''.join(cases)}</testsuite></testsuites>"
    found = counted(report)
    assert [(found[name]["cases"], found[name]["failed"]) for name in names] == [(7, 0), (5, 1), (30, 0)]
    with pytest.raises(FuzzersError, match=names[2]):
        counted(report.replace(names[2], "test_other"))


def test_results_are_kept_and_nothing_else_is_taken_for_some(tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    assert read_results(file) == {"faults": {}, "fuzzers": {}}
    one = as_json(measured("drained", [_request("answered", 10.2)], begun=10.0, over=12.0))
    write_results(file, {"faults": {"drained": one}, "fuzzers": {}})
    assert read_results(file)["faults"]["drained"]["answered"] == 1
    file.write_text('{"other": 1}')
    with pytest.raises(ValueError, match="no results"):
        read_results(file)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--faults", "flood"], "invalid choice: 'flood'"),
        ([], "a PNG file is needed"),
        ([str(Path(__file__))], "is no PNG file"),
        (["--faults", "--fuzz", "0"], "--fuzz 1 or more"),
        (["--faults", "--json", "/nowhere/at/all.json"], "its folder does not exist"),
    ],
)
def test_what_cannot_be_done_is_refused_before_it_begins(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    monkeypatch.setattr("sys.argv", ["faults", *arguments])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    assert words in capsys.readouterr().err


def test_the_page_is_that_of_the_results(tmp_path: Path) -> None:
    results = read_results(RESULTS)
    assert results["faults"].keys() == FAULTS.keys()
    assert results["fuzzers"].keys() == ACCEPTS.keys()
    write_page(results, tmp_path)
    page = (tmp_path / "faults.md").read_text(encoding="utf-8")
    assert page == (DOCS / "faults.md").read_text(encoding="utf-8")
    for fault in FAULTS.values():
        assert page.count(f"| {fault.what} |") == 1
