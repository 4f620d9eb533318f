"""What the arms cost: passes, processor time, and memory of training alone."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.machine import described
from benchmarks.markdown_table import markdown_table
from benchmarks.methods.measured import Arm

_SECONDS = """\
Seconds are processor time of one thread, in the mean over epochs and seeds: updates with their attacks.
Validation after an epoch, and a head's epochs, are not in them."""
_MEMORY = """\
Memory is what {steps} training steps of {batch_size} images add, at their largest, to what the process holds
before the first of them: gradients, momentum, activations, what the attack keeps. The data is not in it,
nor the {low} to {high} MiB of Python, torch and the network. It is measured apart from the runs, in a fresh
process for each arm (`python -m benchmarks.methods --memory`; {machine})."""
_HEADINGS = (
    "arm",
    "passes for an image and epoch",
    "epochs",
    "passes for an image in all",
    "s for an epoch",
    "memory, MiB",
)


def costs(arms: Sequence[Arm], memory: Path) -> str:
    """A table of all `arms`, and what its columns are.

    Args:
        memory: the folder of the files that `measure_memory` wrote.
    """
    files = {arm.name: memory / f"{arm.name}.json" for arm in arms}
    sizes = {name: json.loads(file.read_bytes()) for name, file in files.items() if file.is_file()}
    parts = [_SECONDS, *_about(list(sizes.values()))]
    lines = (_line(arm, sizes.get(arm.name)) for arm in arms)
    return "\n\n".join([*parts, markdown_table(_HEADINGS, lines)])


def _about(sizes: Sequence[dict[str, Any]]) -> Iterator[str]:
    if sizes:
        before = [size["before_mib"] for size in sizes]
        machines = dict.fromkeys(described(size["provenance"]) for size in sizes)
        yield _MEMORY.format(
            steps=sizes[0]["steps"],
            batch_size=sizes[0]["batch_size"],
            low=min(before),
            high=max(before),
            machine="; ".join(machines),
        )


def _line(arm: Arm, size: dict[str, Any] | None) -> tuple[str, ...]:
    first = arm.results[0]
    return (
        arm.name,
        f"{first.passes:.1f}",
        str(first.recipe["optimiser"]["epochs"]),
        f"{first.spent:.1f}",
        f"{arm.seconds:.0f}",
        "-" if size is None else str(size["training_mib"]),
    )
