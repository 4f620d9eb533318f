"""Results name the machine and the commit that they come from."""

from __future__ import annotations

import os
import re

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
