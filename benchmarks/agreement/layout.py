"""What is measured, and where its results lie in the folder of a model's results."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from probes.threat import Norm

CLEAD, STANDARD = "clead-cifar10", "standard-cifar10"
MODELS = (CLEAD, STANDARD)
"""Bundles; each has a folder of results."""
NORMS: tuple[Norm, ...] = ("linf", "l2")
"""Of PGD: the libraries have none for l1 that is like ours."""
Arm = Literal["probe", "ensemble", "autoattack"]
ARMS: tuple[Arm, ...] = ("probe", "ensemble", "autoattack")
OURS = ("ours (torch)", "ours (ONNX Runtime)")
"""Our PGD, by where it runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """One comparison of the smallest eps."""

    norm: Norm
    model: str = CLEAD
    targeted: bool = False
    """Towards the third likeliest class of the clean image, rather than to any other than its own."""
    images: int = 200

    @property
    def name(self) -> str:
        """Names it among those of its model."""
        return f"{self.norm}-targeted" if self.targeted else self.norm


SEARCHES = (
    Search(norm="linf"),
    Search(norm="l2"),
    Search(norm="l1", images=100),
    Search(norm="linf", targeted=True, images=100),
    Search(norm="linf", model=STANDARD, images=100),
    Search(norm="l2", model=STANDARD, images=50),
)


def all_files(results: Path, model: str) -> list[Path]:
    """Every file of results about `model` that the page is written from.

    Args:
        results: the folder of that model.
    """
    files = [
        file(results, search)
        for search in SEARCHES
        if search.model == model
        for file in (our_smallest_file, their_smallest_file)
    ]
    if model == CLEAD:
        files += [pgd_file(results, norm) for norm in NORMS]
        files += [strongest_file(results, arm) for arm in ARMS]
    return files


def pgd_file(results: Path, norm: Norm) -> Path:
    """PGD of all libraries."""
    return results / f"pgd-{norm}.jsonl"


def our_smallest_file(results: Path, search: Search) -> Path:
    """Our search of the smallest eps."""
    return results / f"smallest-{search.name}-ours.jsonl"


def their_smallest_file(results: Path, search: Search) -> Path:
    """Foolbox's attacks that look for the smallest eps."""
    return results / f"smallest-{search.name}-foolbox.jsonl"


def strongest_file(results: Path, arm: Arm) -> Path:
    """One of the strongest attacks."""
    return results / f"strongest-{arm}.jsonl"
