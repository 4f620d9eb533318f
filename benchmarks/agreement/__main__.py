"""Measure what is missing of the agreement with other libraries, then write its page."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import TypeAlias

import torch

from benchmarks.agreement.attack_code import REPOSITORY
from benchmarks.agreement.journal import JournalError
from benchmarks.agreement.layout import ARMS, CLEAD, NORMS, SEARCHES
from benchmarks.agreement.page import outdated, write_page
from benchmarks.agreement.pgd import measure_pgd
from benchmarks.agreement.smallest import measure_smallest
from benchmarks.agreement.strongest import measure_strongest
from benchmarks.agreement.subject import Subject, open_subject
from export.bundle import resolve_bundle
from training.data.images import DataError

RESULTS = Path(__file__).with_name("results")
PARTS = ("pgd", "smallest", "strongest")
Measurement: TypeAlias = tuple[str, Callable[[Subject, Path], object]]
"""A model, and what to do with it and the folder of its results."""


def main() -> int:
    """Each measurement goes on where it was stopped. The page is written from all results there are."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.agreement", description=__doc__)
    parser.add_argument("--data-dir", type=Path, help="folder that holds CIFAR-10, or gets it")
    parser.add_argument("--images", type=int, help="test images to attack  [as many as the part needs]")
    parser.add_argument("--part", choices=PARTS, action="append", help="can be given again  [all]")
    parser.add_argument("--threads", type=int, default=1, help="for one operation  [1]")
    parser.add_argument("--page", action="store_true", help="only write the page")
    arguments = parser.parse_args()
    if not arguments.page:
        if arguments.data_dir is None:
            parser.error("--data-dir is needed to measure")
        if arguments.images is not None and arguments.images < 1:
            parser.error(f"--images is {arguments.images}; give 1 or more")
    try:
        if not arguments.page:
            _measure(arguments)
        write_page(RESULTS, REPOSITORY / "docs")
    except (DataError, JournalError) as error:
        print(f"clead: {error}", file=sys.stderr)
        return 1
    for path, places in outdated(RESULTS).items():
        print(f"clead: {path} was measured before {', '.join(places)} changed", file=sys.stderr)
    return 0


def _measure(arguments: argparse.Namespace) -> None:
    torch.set_num_threads(arguments.threads)

    @cache
    def subject(model: str) -> Subject:
        bundle = resolve_bundle(REPOSITORY / "models", model)
        return open_subject(bundle, arguments.data_dir, threads=arguments.threads)

    for part in arguments.part or PARTS:
        for model, measure in _measurements(part, arguments.images):
            measure(subject(model), RESULTS / model)


def _measurements(part: str, images: int | None) -> Iterator[Measurement]:
    if part == "pgd":
        for norm in NORMS:
            yield CLEAD, partial(measure_pgd, norm=norm, images=images or 1000)
    if part == "smallest":
        for search in SEARCHES:
            yield search.model, partial(measure_smallest, search=search, images=images or search.images)
    if part == "strongest":
        for arm in ARMS:
            yield CLEAD, partial(measure_strongest, arm=arm, images=images or 500)


if __name__ == "__main__":
    sys.exit(main())
