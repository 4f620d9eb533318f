"""Problem details and log lines from text that UTF-8 cannot encode."""

from __future__ import annotations

import json
import logging

from serving.observing.request_log import JsonLines
from serving.parameters import invalid
from serving.problems import Problem, shown

SURROGATE = "\ud800"
"""What a form field named `+2AA-` becomes in a multipart body that says its charset is UTF-7."""


def test_a_problem_names_a_parameter_that_is_a_lone_surrogate() -> None:
    problem = invalid(SURROGATE, f"there is no parameter {SURROGATE}")

    response = problem.response(request_id="1", path="/classify")

    assert response.status_code == 422
    assert json.loads(bytes(response.body))["parameter"] == SURROGATE


def test_a_log_line_with_a_lone_surrogate_can_be_written() -> None:
    record = logging.LogRecord("clead", logging.INFO, "a.py", 1, "request", (), None)
    record.__dict__["fields"] = {"path": SURROGATE}

    line = JsonLines().format(record)

    assert json.loads(line.encode())["path"] == SURROGATE


def test_of_a_long_path_or_detail_only_the_beginning_is_repeated() -> None:
    response = Problem("not_found", "d" * 60_000).response(request_id="1", path="/v2/" + "a" * 60_000)

    body = json.loads(bytes(response.body))
    assert body["instance"] == "/v2/" + "a" * 295 + "…"
    assert body["detail"] == body["error"] == "d" * 1999 + "…"
    assert shown("a" * 300) == "a" * 300
