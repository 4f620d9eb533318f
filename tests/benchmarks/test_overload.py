"""The overload benchmark counts every request, and knows when a server has recovered."""

from __future__ import annotations

import http.server
import json
import math
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.overload.__main__ import RESULTS
from benchmarks.overload.page import write_page
from benchmarks.overload.sampler import (
    NO_ANSWER,
    Sample,
    Sampler,
    percentile,
    post,
    seconds_to_recovery,
    summary,
)
from benchmarks.served_models import REPOSITORY
from benchmarks.server_process import free_port


def test_percentiles_are_values_that_were_measured() -> None:
    hundred = [float(number) for number in range(1, 101)]
    assert [percentile(hundred, share) for share in (0.0, 0.5, 0.99, 1.0)] == [1.0, 50.0, 99.0, 100.0]
    assert percentile([7.0], 0.99) == 7.0
    assert math.isnan(percentile([], 0.5))


def test_only_answers_have_a_latency_and_nothing_is_left_out() -> None:
    samples = [Sample(at=0.0, status=200, seconds=0.001 * number) for number in range(1, 5)]
    refused = [Sample(at=0.0, status=status, seconds=9.0) for status in (503, 503, NO_ANSWER)]
    felt = summary(samples + refused)
    assert felt.statuses == {NO_ANSWER: 1, 200: 4, 503: 2}
    assert (felt.median_ms, felt.p99_ms) == (pytest.approx(2.0), pytest.approx(4.0))


def test_recovery_is_a_row_of_quick_answers() -> None:
    outcomes = [(0, 200, 0.01), (1, 503, 0.01), (2, 200, 0.01), (3, 200, 5.0), (4, 200, 0.01), (5, 200, 0.02)]
    samples = [Sample(at=float(at), status=status, seconds=seconds) for at, status, seconds in outcomes]
    assert seconds_to_recovery(samples[::-1], since=0.5, bound=0.1, in_a_row=2) == 3.5
    assert seconds_to_recovery(samples, since=0.0, bound=0.1, in_a_row=1) == 0.0
    assert seconds_to_recovery(samples, since=0.0, bound=0.1, in_a_row=3) == math.inf


class _Handler(http.server.BaseHTTPRequestHandler):
    asked = 0

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        type(self).asked += 1
        self.send_response(200 if body == b"image" and self.path == "/x" else 422)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing is to be printed."""


@pytest.fixture
def port() -> Iterator[int]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def test_a_sampler_has_a_sample_of_every_request_that_it_sent(port: int) -> None:
    before = _Handler.asked
    with Sampler(port, "/x", b"image", interval=0.01) as sampler:
        while len(sampler.samples) < 5:
            threading.Event().wait(0.01)
    assert {one.status for one in sampler.samples} == {200}
    assert len(sampler.samples) == _Handler.asked - before


def test_an_answer_that_never_came_has_no_status(port: int) -> None:
    assert post(port, "/x", b"other", timeout=5.0) == 422
    assert post(free_port(), "/x", b"image", timeout=5.0) == NO_ANSWER


def test_the_page_is_that_of_the_results(tmp_path: Path) -> None:
    write_page(RESULTS, tmp_path)
    page = (tmp_path / "overload.md").read_text(encoding="utf-8")
    assert page == (REPOSITORY / "docs" / "overload.md").read_text(encoding="utf-8")
    for file in RESULTS.glob("*.json"):
        assert f"## Model: {file.stem}" in page
        assert set(json.loads(file.read_bytes())["flooded"]["statuses"]) <= {"200", "503"}


def test_the_page_says_how_many_got_which_answer(tmp_path: Path) -> None:
    felt = {"statuses": {"0": 1, "200": 1500, "503": 20}, "median_ms": 2.5, "p99_ms": 1234.5}
    flooded = {
        "seconds": 60.0,
        "capacity_per_second": 50.0,
        "offered_over_capacity": 10.04,
        "answered_per_second": 40.0,
        "unanswered": 7,
        "memory_mib_before": 100.0,
        "memory_mib_at_the_end": 101.0,
        "seconds_to_recovery": 0.5,
    }
    report = {"idle": felt, "beside_probes": felt | {"p99_over_idle": 1.0}, "flooded": felt | flooded}
    results = tmp_path / "results"
    results.mkdir()
    (results / "tiny.json").write_text(json.dumps(report), encoding="utf-8")
    write_page(results, tmp_path)
    page = (tmp_path / "overload.md").read_text(encoding="utf-8")

    assert "Measured on a machine that was not recorded." in page
    assert "| flooded | 1,521 | 1,500 | 20 | 1 | 2.5 ms | 1,234.5 ms |" in page
    assert (
        "10.0 times a capacity of 50 a second, for 60 s. 40 a second were answered 200; 7 unanswered." in page
    )
