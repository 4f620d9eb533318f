"""Results name the machine and the commit that they come from."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from benchmarks import machine
from benchmarks.machine import described, provenance


def test_the_machine_is_named() -> None:
    found = provenance(threads=1)
    assert found["cpu"]
    assert (found["cores"], found["threads"]) == (os.cpu_count(), 1)
    assert found["commit"] == "unknown" or re.fullmatch(r"[0-9a-f]{40}(\+changes)?", found["commit"])
    assert "threads" not in provenance()


def test_it_is_described_in_a_line() -> None:
    found = {"cpu": "AMD EPYC", "cores": 2, "commit": "0123456789" * 4}
    assert described(found) == "AMD EPYC, 2 cores, commit 0123456"
    changed = {**found, "threads": 1, "commit": found["commit"] + "+changes"}
    assert described(changed) == "AMD EPYC, 2 cores, 1 thread, commit 0123456+changes"


def test_what_is_not_known_is_left_out() -> None:
    assert described({"threads": 1}) == "a machine that was not recorded, 1 thread"


def test_results_that_were_written_over_do_not_count_as_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "_REPOSITORY", tmp_path)
    code, result = tmp_path / "code.py", tmp_path / "benchmarks" / "load" / "results" / "tiny.json"
    result.parent.mkdir(parents=True)
    for path in (code, result):
        path.write_text("1\n", encoding="utf-8")
    author = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    for command in (["init"], ["add", "."], [*author, "commit", "--message", "First"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True, capture_output=True)
    result.write_text("2\n", encoding="utf-8")
    assert re.fullmatch(r"[0-9a-f]{40}", provenance()["commit"])
    code.write_text("2\n", encoding="utf-8")
    assert provenance()["commit"].endswith("+changes")
