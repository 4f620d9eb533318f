"""Pages that are written from a folder of results, a section for each file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

_NOT_MEASURED = """\
**Not measured in this version**: there is no such file, so no figure is stated here."""


def write_results_page(
    results: Path,
    page: Path,
    *,
    introduction: str,
    section: Callable[[str, Mapping[str, Any]], Iterable[str]],
) -> None:
    """Write `page`: the introduction, and what `section` makes of the name and content of each JSON file."""
    parts = [introduction]
    for file in sorted(results.glob("*.json")):
        parts += section(file.stem, json.loads(file.read_bytes()))
    if len(parts) == 1:
        parts.append(_NOT_MEASURED)
    page.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
