"""docs/probe_speed.md, from the results alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.machine import described
from benchmarks.markdown_table import markdown_table, yes_or_no
from benchmarks.probe_speed.pgd import BARE, EARLY, OURS
from benchmarks.probe_speed.subjects import BUNDLED, RESNET
from benchmarks.results_page import write_results_page

PGD_AIM, SMALLEST_AIM, OVERHEAD_AIM = 1.5, 5.0, 0.1
_INTRODUCTION = f"""\
# How fast it probes

The attacks of a probe, on the engine that serves, beside torchattacks, foolbox and the Adversarial Robustness
Toolbox (ART) on torch, in one process and in turn (`benchmarks/README.md` says what the libraries get). This
page is written by `python -m benchmarks.probe_speed --page` from the files in
`benchmarks/probe_speed/results/`, each made by

```sh
.venv/test/bin/python -m benchmarks.probe_speed --data-dir DIR \\
    --json benchmarks/probe_speed/results/NAME.json
```

on a machine that does nothing else. The aims: PGD {PGD_AIM:g} times as fast as the fastest of the libraries,
less than {OVERHEAD_AIM:.0%} spent outside the bare gradient calls, and the smallest eps of one image
{SMALLEST_AIM:g} times as fast as foolbox's FMN at equal quality."""
_PGD = """\
**PGD with {steps} steps**, medians of {rounds} rounds. *Times as fast* is the time of the fastest library
over ours in the same round. With *early stop*, images leave the batch once they are flipped, which no
library does; that counts. *Overhead* is what our loop takes over the bare gradient calls."""
_SMALLEST = """\
**The smallest eps** of one image (l-inf, geometric mean over {images} images; seconds: medians). Foolbox's
FMN gets the fewest steps, of those tried, with which it is not worse. *Probe* is all that a probe without
`eps` does: an interval confirmed on floats and at 8 bits, a curve, checks. *Times as fast* is a dash where
FMN never got as near with any number of steps tried: there is no equal quality then."""
_PGD_HEADINGS = (
    *("model", "images", "ours, ms", "fastest library", "its ms", "times as fast"),
    *("with early stop", f"{PGD_AIM:g} times", "overhead", f"below {OVERHEAD_AIM:.0%}"),
)
_SMALLEST_HEADINGS = (
    *("ours", "eps", "ms", "FMN's steps", "its eps", "its ms", "times as fast", f"{SMALLEST_AIM:g} times"),
)


def write_page(results: Path, docs: Path) -> None:
    """Write `probe_speed.md` into `docs`, from the files of `results`."""
    write_results_page(results, docs / "probe_speed.md", introduction=_INTRODUCTION, section=_section)


def _section(name: str, report: Mapping[str, Any]) -> Iterator[str]:
    versions = ", ".join(f"{library} {version}" for library, version in report["libraries"].items())
    yield f"## {name}"
    yield f"On {described(report['provenance'])}: {report['clock']} time, {versions}."
    yield _PGD.format(steps=report["steps"], rounds=report["rounds"])
    yield markdown_table(_PGD_HEADINGS, (_pgd(row) for row in report["pgd"]))
    if smallest := report["smallest_eps"]:
        yield _SMALLEST.format(images=smallest[0]["images"])
        yield markdown_table(_SMALLEST_HEADINGS, (_smallest(row) for row in smallest))
    missing = [model for model in (BUNDLED, RESNET) if model not in {row["model"] for row in report["pgd"]}]
    missing += [] if smallest else ["the smallest eps"]
    if missing:
        yield f"Not measured: {', '.join(missing)}."


def _pgd(row: Mapping[str, Any]) -> tuple[str, ...]:
    seconds, times = row["seconds"], row["times_ours"]
    libraries = [name for name in times if name not in (OURS, EARLY, BARE)]
    fastest = min(libraries, key=lambda name: float(times[name]))
    return (
        row["model"],
        str(row["images"]),
        _milliseconds(seconds[OURS]),
        f"{fastest} ({row['torch_format']})",
        _milliseconds(seconds[fastest]),
        f"{times[fastest]:.2f}",
        f"{times[fastest] / times[EARLY]:.2f}",
        yes_or_no(times[fastest] / min(times[EARLY], times[OURS]) >= PGD_AIM),
        f"{row['loop_overhead']:+.1%}",
        yes_or_no(row["loop_overhead"] < OVERHEAD_AIM),
    )


def _smallest(row: Mapping[str, Any]) -> tuple[str, ...]:
    settled = row["fmn_steps"] is None
    return (
        row["way"],
        f"{row['our_eps']:.5f}",
        _milliseconds(row["our_seconds"]),
        "settled" if settled else str(row["fmn_steps"]),
        f"{row['fmn_eps']:.5f}",
        _milliseconds(row["fmn_seconds"]),
        "-" if settled else f"{row['ratio']:.2f}",
        "-" if settled else yes_or_no(row["ratio"] >= SMALLEST_AIM),
    )


def _milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:,.1f}"
