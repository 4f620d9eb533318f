"""The true classes of a set of images: from the folders they lie in, or from a CSV file."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cli.probe_set.files import ImageFile, printable

_HEADER = ("file", "label")
_LISTED = 3


class LabelError(ValueError):
    """The labels cannot be used as they are. The message says which, and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """Labels by image: of all images or of none, so that a figure of the set is about one thing.

    `origin` says for people where they come from, or why there are none.
    """

    origin: str
    classes: Mapping[Path, int] = field(default_factory=dict)


def labels_from_folders(images: Sequence[ImageFile], classes: Sequence[str]) -> Labels:
    """The label of each image is the subfolder it lies in, where each of these has the name of a class."""
    tops = {image.inside.parts[0] if len(image.inside.parts) > 1 else None for image in images}
    named = {top for top in tops if top in classes}
    if not named:
        return Labels(origin="no labels were given")
    if others := tops - named:
        where = sorted("outside of them" if top is None else f"in {printable(top)}" for top in others)
        return Labels(
            origin=f"no labels: some folders are named after classes, but images lie {_some(where)} too"
        )
    index = {name: number for number, name in enumerate(classes)}
    return Labels(
        origin="labels from the names of the folders",
        classes={image.path: index[image.inside.parts[0]] for image in images},
    )


def labels_from_csv(file: Path, images: Sequence[ImageFile], *, class_index: Callable[[str], int]) -> Labels:
    """Reads `file,label` lines, with or without that header; further columns are ignored.

    `file` is the path below the folder that is probed, or as it is given on the command line, or below the
    folder of the CSV file. Lines about other files are ignored.

    Args:
        class_index: of a class given by name or number; raises LabelError.

    Raises:
        LabelError: the file cannot be read, a label is no class, two lines contradict each other, or an image
            has no label.
    """
    indices: dict[str, int] = {}
    by_text: dict[str, int] = {}
    by_path: dict[Path, int] = {}
    for line, name, label in _rows(file):
        try:
            index = indices[label] if label in indices else indices.setdefault(label, class_index(label))
        except LabelError as error:
            raise LabelError(f"{file}, line {line}: {error}") from error
        by_text[name] = index
        if by_path.setdefault((file.parent / name).resolve(), index) != index:
            raise LabelError(f"{file}, line {line}: {printable(name)} has another label further up")
    found: dict[Path, int] = {}
    claimed: dict[str, ImageFile] = {}
    without: list[str] = []
    for image in images:
        inside = image.inside.as_posix()
        if (exact := by_text.get(str(image.path), by_path.get(image.path.resolve()))) is not None:
            found[image.path] = exact
        elif inside in by_text:
            other = claimed.setdefault(inside, image)
            if other is not image:
                raise LabelError(
                    f"{file}: {printable(inside)} may be {other.name} or {image.name}: "
                    f"give paths as they are on the command line, or below {file.parent}"
                )
            found[image.path] = by_text[inside]
        else:
            without.append(image.name)
    if without:
        raise LabelError(
            f"{file} has no label for {len(without)} of {len(images)} images: {_some(without)}. Give each "
            "image a line file,label, where file is its path below the folder that is probed"
        )
    return Labels(origin=f"labels from {printable(str(file))}", classes=found)


def _rows(file: Path) -> Iterator[tuple[int, str, str]]:
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.reader(lines, strict=True)
            for row in reader:
                cells = [cell.strip() for cell in row]
                if not any(cells) or (reader.line_num == 1 and tuple(map(str.lower, cells[:2])) == _HEADER):
                    continue
                if len(cells) < 2 or not all(cells[:2]):
                    raise LabelError(
                        f"{file}, line {reader.line_num}: expected file,label, found {','.join(cells)[:80]!r}"
                    )
                yield reader.line_num, cells[0], cells[1]
    except (UnicodeDecodeError, csv.Error) as error:
        raise LabelError(f"{file} is not a CSV file in UTF-8: {error}") from error


def _some(names: Sequence[str]) -> str:
    more = len(names) - _LISTED
    return ", ".join(names[:_LISTED]) + (f" and {more} more" if more > 0 else "")
