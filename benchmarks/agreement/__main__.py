"""Measure what is missing of the agreement with other libraries, then write its page."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.agreement.journal import JournalError
from benchmarks.agreement.layout import ARMS, NORMS, SMALLEST_NORMS
from benchmarks.agreement.page import write_page
from benchmarks.agreement.pgd import measure_pgd
from benchmarks.agreement.smallest import measure_smallest
from benchmarks.agreement.strongest import measure_strongest
from benchmarks.agreement.subject import Subject, open_subject
from export.bundle import resolve_bundle
from training.data.images import DataError

REPOSITORY = Path(__file__).parents[2]
RESULTS = Path(__file__).with_name("results")


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
    return 0


def _measure(arguments: argparse.Namespace) -> None:
    torch.set_num_threads(arguments.threads)
    bundle = resolve_bundle(REPOSITORY / "models", "clead-cifar10")
    subject = open_subject(bundle, arguments.data_dir, threads=arguments.threads)
    for part in arguments.part or PARTS:
        PARTS[part](subject, arguments.images)


def _pgd(subject: Subject, images: int | None) -> None:
    for norm in NORMS:
        measure_pgd(subject, RESULTS, norm=norm, images=images or 1000)


def _smallest(subject: Subject, images: int | None) -> None:
    for norm in SMALLEST_NORMS:
        measure_smallest(subject, RESULTS, norm=norm, images=images or 200)


def _strongest(subject: Subject, images: int | None) -> None:
    for arm in ARMS:
        measure_strongest(subject, RESULTS, arm=arm, images=images or 500)


PARTS: dict[str, Callable[[Subject, int | None], None]] = {
    "pgd": _pgd,
    "smallest": _smallest,
    "strongest": _strongest,
}

if __name__ == "__main__":
    sys.exit(main())
