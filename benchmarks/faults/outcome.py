"""What came of a fault: every request counted, and the file that keeps it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.faults.clients import Outcome, Request


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One fault. `requests` are those that were sent from its beginning to the end of the run.

    Attributes:
        refused: by the code of the problem.
        lost: by how.
        unconnected: attempts that found no server; counted in no other figure.
        seconds: from the beginning until the service was as before, or had ended: until what the fault had
            changed was in place again, and the last request that got no 200 was over.
    """

    fault: str
    requests: int
    answered: int
    refused: Mapping[str, int]
    lost: Mapping[str, int]
    unconnected: int
    seconds: float


def measured(fault: str, requests: Sequence[Request], *, begun: float, over: float) -> Measured:
    """Counts the requests that had not ended when the fault began, and all later ones.

    Args:
        begun, over: when the fault began, and when what it changed was in place again (monotonic clock).
    """
    counted = [one for one in requests if one.ended >= begun]
    sent = [one for one in counted if one.outcome != "unconnected"]
    answered = [one for one in sent if one.outcome == "answered"]
    others = [one.ended for one in sent if one.outcome != "answered"]
    return Measured(
        fault=fault,
        requests=len(sent),
        answered=len(answered),
        refused=_by_reason(sent, "refused"),
        lost=_by_reason(sent, "lost"),
        unconnected=len(counted) - len(sent),
        seconds=max([over, *others]) - begun,
    )


def _by_reason(requests: Sequence[Request], outcome: Outcome) -> dict[str, int]:
    return dict(sorted(Counter(one.why for one in requests if one.outcome == outcome).items()))


def read_results(file: Path) -> dict[str, Any]:
    """What the file holds: `faults` and `fuzzers`, empty where there is no file.

    Raises:
        ValueError: it is no such file.
    """
    if not file.exists():
        return {"faults": {}, "fuzzers": {}}
    found = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(found, dict) or found.keys() != {"faults", "fuzzers"}:
        raise ValueError(f"{file} holds no results of this benchmark")
    return found


def write_results(file: Path, results: Mapping[str, Any]) -> None:
    """Writes the file, whole or not at all."""
    partial = file.with_name(f"{file.name}.partial")
    partial.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    partial.replace(file)


def as_json(one: Measured) -> dict[str, Any]:
    """A fault as it stands in the file, under its name."""
    values = asdict(one)
    del values["fault"]
    return values | {"seconds": round(one.seconds, 2)}
