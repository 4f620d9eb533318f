"""Results of one measurement in a file that grows image by image, so that a run that was stopped goes on."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.agreement.attack_code import PROBES

Row = dict[str, Any]


class JournalError(ValueError):
    """A file of results that cannot be continued; the message says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Journal:
    """JSON lines: the settings of the measurement, then one row an image.

    Attributes:
        rows: in the order of the images; one that is appended is in the file when `append` returns.
    """

    path: Path
    settings: Mapping[str, Any]
    rows: list[Row]

    def append(self, rows: Sequence[Row]) -> None:
        """Add the results of further images."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write("".join(json.dumps(row) + "\n" for row in rows))
        self.rows.extend(rows)


def continue_journal(path: Path, settings: Mapping[str, Any]) -> Journal:
    """The journal at `path`, made where there is none.

    Raises:
        JournalError: it holds results of other settings or of other code, or is no journal.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(settings) + "\n", encoding="utf-8")
    journal = read_journal(path)
    wanted = json.loads(json.dumps(settings))
    different = _different(wanted, journal.settings)
    if "code" in different:
        places = ", ".join(_different(wanted.get("code", {}), journal.settings.get("code", {})))
        raise JournalError(
            f"{path} was measured with other code than today's: since then {places} changed; move it away to "
            "measure anew"
        )
    if different:
        key = different[0]
        raise JournalError(
            f"{path} was measured with {key} = {journal.settings.get(key)}, not {wanted.get(key)}: "
            "move it away to measure anew"
        )
    # A run that is killed while it writes leaves a part of a row, which a further row may not be joined to.
    os.truncate(path, len(_whole_lines(path)))
    return journal


def check_together(journals: Sequence[Journal]) -> None:
    """Raises JournalError unless all are about the same model and, as far as they go, the same images."""
    for key in ("model", "images"):
        if len({journal.settings.get(key) for journal in journals}) > 1:
            names = ", ".join(journal.path.name for journal in journals)
            raise JournalError(f"{names} were measured with another {key} each: measure them anew together")
    for rows in zip(*(journal.rows for journal in journals), strict=False):
        if len({row["image"] for row in rows}) > 1:
            names = ", ".join(journal.path.name for journal in journals)
            raise JournalError(f"{names} are not about the same images: measure them anew together")


def check_same_attacks(journals: Sequence[Journal]) -> str | None:
    """The digest of the code of our attacks, None where none of the results depends on it.

    Raises:
        JournalError: some results were measured with other attacks than others.
    """
    measured: dict[str, list[str]] = {}
    for journal in journals:
        if PROBES in (code := journal.settings.get("code", {})):
            measured.setdefault(code[PROBES], []).append(str(journal.path))
    if len(measured) > 1:
        names = "; ".join(f"{digest[:8]}: {', '.join(paths)}" for digest, paths in measured.items())
        raise JournalError(f"results are of different versions of our attacks ({names}): measure them anew")
    return next(iter(measured), None)


def read_journal(path: Path) -> Journal:
    """The journal at `path`, without a last row that was cut off.

    Raises:
        JournalError: it is no journal.
    """
    try:
        settings, *rows = map(json.loads, _whole_lines(path).splitlines())
    except (OSError, ValueError) as error:
        raise JournalError(f"{path} holds no results: {error}; move it away to measure anew") from error
    return Journal(path=path, settings=settings, rows=rows)


def measured(path: Path) -> Journal | None:
    """The journal at `path`; None where nothing has been measured.

    Raises:
        JournalError: it is no journal.
    """
    if not path.exists():
        return None
    journal = read_journal(path)
    return journal if journal.rows else None


def _different(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    return sorted(key for key in one.keys() | other.keys() if one.get(key) != other.get(key))


def _whole_lines(path: Path) -> bytes:
    content = path.read_bytes()
    return content[: content.rfind(b"\n") + 1]
