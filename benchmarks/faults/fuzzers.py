"""The fuzzers among the tests, with more cases than a test run has."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from benchmarks.served_models import REPOSITORY

TIMES = "FUZZ_TIMES"
ACCEPTS: Mapping[str, str] = MappingProxyType(
    {
        "test_a_damaged_file_is_an_image_or_a_problem": "an image, or a problem that says what is wrong",
        "test_no_damaged_upload_makes_the_server_fail": "from the server: the same, never a 5xx",
        "test_every_answer_is_as_the_document_says": "from the server: status, content type and body as the "
        "OpenAPI document says, never a 5xx",
    }
)
"""What may come of a case, by the name of the test."""
_FILES = ("tests/serving/test_fuzz.py", "tests/serving/test_api_fuzz.py")


class FuzzersError(RuntimeError):
    """The tests could not be run."""


def run_fuzzers(times: int) -> dict[str, Any]:
    """Runs them with `times` as many cases, and counts these by the name of the test.

    Raises:
        FuzzersError: the tests did not run; with the end of what they printed.
    """
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", *_FILES, "-k", " or ".join(ACCEPTS)]
        done = subprocess.run(
            [*command, f"--junitxml={report}", "-o", "junit_family=xunit1"],
            cwd=REPOSITORY,
            env={**os.environ, TIMES: str(times)},
            capture_output=True,
            text=True,
            check=False,
        )
        if not report.exists():
            raise FuzzersError(f"the fuzzers did not run:\n{(done.stdout + done.stderr)[-2000:]}")
        return counted(report.read_text(encoding="utf-8"))


def counted(report: str) -> dict[str, Any]:
    """Cases and failures by test, from pytest's JUnit XML.

    Raises:
        FuzzersError: a test is missing in it.
    """
    found: dict[str, dict[str, Any]] = {
        name: {"accepts": accepts, "cases": 0, "failed": 0} for name, accepts in ACCEPTS.items()
    }
    seen = set()
    # Written by pytest a moment ago, in a folder of ours.
    for test in ElementTree.fromstring(report).iter("testcase"):
        name = test.get("name", "").partition("[")[0]
        if name in found:
            seen.add(name)
            cases = (
                int(one.get("value", "0")) for one in test.iter("property") if one.get("name") == "cases"
            )
            found[name]["cases"] += sum(cases)
            found[name]["failed"] += any(test.find(bad) is not None for bad in ("failure", "error"))
    if missing := ACCEPTS.keys() - seen:
        raise FuzzersError(f"no test ran that is called {', '.join(sorted(missing))}")
    return found
