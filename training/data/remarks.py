"""What a person is told of the data before the work begins, though it is no error."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from training.data.images import LabelledImages
from training.data.sources import READ

_NAMED = 5
"""Classes that one line names."""


def remarks(images: LabelledImages, *, unlearnt: Sequence[str], holdout: int) -> Iterator[str]:
    """A line for each thing.

    Args:
        unlearnt: names of the classes all of whose images are held out.
        holdout: how many images are held out.
    """
    of = len(images.classes)
    yield from unread(images)
    if absent := images.absent_classes():
        yield f"warning: {len(absent)} of the {of} classes have no training image: {_listed(absent)}"
    if unlearnt:
        yield (
            f"warning: {len(unlearnt)} of the {of} classes have all their images held out "
            f"(data.holdout={holdout}) and none to train on: {_listed(unlearnt)}; "
            "add images of them, or lower data.holdout (10 at least)"
        )


def unread(images: LabelledImages) -> Iterator[str]:
    """A line where there are image files of types that are not read."""
    if images.passed_over:
        total = sum(images.passed_over.values())
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(images.passed_over.items()))
        yield (
            f"warning: {total} image files are passed over ({kinds}): read are {', '.join(sorted(READ))}; "
            "convert them if they are to count"
        )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")
