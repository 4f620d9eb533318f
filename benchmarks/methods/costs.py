"""What the arms cost: passes, processor time, and memory of training alone."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.machine import described
from benchmarks.markdown_table import markdown_table
from benchmarks.methods.measured import Arm

_MEASURED = """\
Seconds and memory are those of {steps} training steps of {batch_size} images, apart from the runs: one code
for all arms, each in a fresh process (`python -m benchmarks.methods --cost`; {machine}). A dash: not measured
yet.

Seconds are processor time of one thread: of a step after the first, in the mean, times the updates of an
epoch, with their attacks. Validation after an epoch, and a head's epochs, are not in them.

Memory is what the steps add, at their largest, to what the process holds before the first of them:
gradients, momentum, activations, what the attack keeps. The data is not in it, nor the {low} to {high} MiB of
Python, torch and the network."""
_HEADINGS = (
    "arm",
    "passes for an image and epoch",
    "epochs",
    "passes for an image in all",
    "s for an epoch",
    "memory, MiB",
)


def costs(arms: Sequence[Arm], measured: Path) -> str:
    """A table of all `arms`, and what its columns are.

    Args:
        measured: the folder of the files that `measure_costs` wrote.
    """
    files = {arm.name: measured / f"{arm.name}.json" for arm in arms}
    found = {name: json.loads(file.read_bytes()) for name, file in files.items() if file.is_file()}
    table = markdown_table(_HEADINGS, (_line(arm, found.get(arm.name, {})) for arm in arms))
    return "\n\n".join([*_about(list(found.values())), table])


def _about(found: Sequence[dict[str, Any]]) -> Iterator[str]:
    if found:
        before = [cost["before_mib"] for cost in found]
        machines = dict.fromkeys(described(cost["provenance"]) for cost in found)
        yield _MEASURED.format(
            steps=found[0]["steps"],
            batch_size=found[0]["batch_size"],
            low=min(before),
            high=max(before),
            machine="; ".join(machines),
        )


def _line(arm: Arm, cost: dict[str, Any]) -> tuple[str, ...]:
    first = arm.results[0]
    seconds, memory = cost.get("epoch_seconds"), cost.get("training_mib")
    return (
        arm.name,
        f"{first.passes:.1f}",
        str(first.recipe["optimiser"]["epochs"]),
        f"{first.spent:.1f}",
        "-" if seconds is None else f"{seconds:.0f}",
        "-" if memory is None else str(memory),
    )
