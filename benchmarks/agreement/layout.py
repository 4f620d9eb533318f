"""Where the results of each measurement lie, in the folder of results."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from probes.threat import Norm

NORMS: tuple[Norm, ...] = ("linf", "l2")
"""Of PGD: the libraries have none for l1 that is like ours."""
SMALLEST_NORMS: tuple[Norm, ...] = ("linf", "l2", "l1")
Arm = Literal["probe", "ensemble", "autoattack"]
ARMS: tuple[Arm, ...] = ("probe", "ensemble", "autoattack")
OURS = ("ours (torch)", "ours (ONNX Runtime)")
"""Our PGD, by where it runs."""


def all_files(results: Path) -> list[Path]:
    """Every file of results that the page is written from."""
    return [
        *(pgd_file(results, norm) for norm in NORMS),
        *(
            file(results, norm)
            for norm in SMALLEST_NORMS
            for file in (our_smallest_file, their_smallest_file)
        ),
        *(strongest_file(results, arm) for arm in ARMS),
    ]


def pgd_file(results: Path, norm: Norm) -> Path:
    """PGD of all libraries."""
    return results / f"pgd-{norm}.jsonl"


def our_smallest_file(results: Path, norm: Norm) -> Path:
    """Our search of the smallest eps."""
    return results / f"smallest-{norm}-ours.jsonl"


def their_smallest_file(results: Path, norm: Norm) -> Path:
    """Foolbox's attacks that look for the smallest eps."""
    return results / f"smallest-{norm}-foolbox.jsonl"


def strongest_file(results: Path, arm: Arm) -> Path:
    """One of the strongest attacks."""
    return results / f"strongest-{arm}.jsonl"
