"""docs/faults.md, from the results alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.faults.catalogue import FAULTS
from benchmarks.markdown_table import markdown_table

_HEADINGS = ("fault", "requests", "answered 200", "refused properly", "lost", "seconds")

_INTRODUCTION = """\
# What is lost when something goes wrong

This page is written by

```sh
.venv/test/bin/python -m benchmarks.faults IMAGE.png --fuzz 20 --json benchmarks/faults/results.json
.venv/test/bin/python -m benchmarks.faults --page
```

from the file that the first command makes."""

_FAULTS = """\
## Faults

Each fault on a server of its own with two workers, API keys and the bundled model. Five ordinary clients
keep asking, four for classifications and one for probes, each over one connection that it keeps for as long
as the server does; they repeat nothing. Every request counts that was under way when the fault began, or was
sent after it, until five seconds after it was over.

* *Refused properly* is a problem (`application/problem+json`) with its code, and with `Retry-After` where it
  is a 429, 503 or 504.
* *Lost* is everything else: the connection was reset or closed, no answer came in 30 s, an answer was
  malformed, or the server made a mistake (500).
* *Seconds* go by until the service is as before: all workers answer, all of them have seen what was added or
  taken away, and the last request that got no 200 is over. Where the server is to end: until it answers
  nobody any more.
* Once the server has ended its clients are refused connections. Nothing is sent then, and nothing counted."""

_NOTES = """\
What is lost, and why:

* A worker killed with -9 takes the connections with it that it held. Its clients see them closed; who asks
  again, or is behind a proxy that does, is answered by the other worker.
* Plain `bentoml serve` closes connections on which nobody waits for an answer a tenth of a second after
  SIGTERM. A request that is sent into that moment is lost. `clead serve` has told every client beforehand.

[operations.md](operations.md) says what is promised."""

_FUZZERS = """\
## Fuzzers

Tests of these names, with more cases than in a test run. A case is one file, or one request to a running
server. *Failed* are tests that met a case of which anything else came."""


def write_page(results: Mapping[str, Any], docs: Path) -> None:
    """Write `faults.md` into `docs`."""
    faults = [fault_cells(name, results["faults"][name]) for name in FAULTS if name in results["faults"]]
    fuzzers = [
        (f"`{name}`", one["accepts"], f"{one['cases']:,}", str(one["failed"]))
        for name, one in sorted(results["fuzzers"].items())
    ]
    sections = [
        _INTRODUCTION,
        _FAULTS,
        markdown_table(_HEADINGS, faults),
        _NOTES,
        _FUZZERS,
        markdown_table(("test", "what may come", "cases", "failed"), fuzzers),
    ]
    (docs / "faults.md").write_text("\n\n".join(sections) + "\n", encoding="utf-8")


def fault_cells(name: str, one: Mapping[str, Any]) -> tuple[str, ...]:
    """The line of one fault."""
    return (
        FAULTS[name].what,
        f"{one['requests']:,}",
        f"{one['answered']:,}",
        _counted(one["refused"]),
        _counted(one["lost"]),
        f"{one['seconds']:.1f}",
    )


def _counted(reasons: Mapping[str, int]) -> str:
    total = sum(reasons.values())
    return f"{total:,} ({', '.join(reasons)})" if total else "0"
