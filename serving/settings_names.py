"""Refusing names of settings that do not exist."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

# Variables with our prefix that are no settings of the server: the path of the settings file, the folder that
# its workers share, and the folders of data and of a Triton server that the tests take.
OTHER_VARIABLES = frozenset(
    {"CLEAD_CONFIG", "CLEAD_SHARED_FOLDER", "CLEAD_DATA_DIR", "CLEAD_UPLOADS_DIR", "CLEAD_TRITON"}
)


def check_names(names: Iterable[str], known: set[str], *, source: str, error: type[Exception]) -> None:
    """Raises `error` for a name neither known nor one of `OTHER_VARIABLES`; it proposes the nearest one."""
    unknown = sorted(set(names) - known - OTHER_VARIABLES)
    if not unknown:
        return
    proposals = []
    for name in unknown:
        near = difflib.get_close_matches(name, known, n=1)
        proposals.append(f"{name} (did you mean {near[0]}?)" if near else name)
    raise error(f"unknown setting in {source}: {', '.join(proposals)}; docs/settings.md lists them all")
