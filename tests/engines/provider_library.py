"""Names that stand in a library of ONNX Runtime's: it ignores or refuses options that it does not know."""

from __future__ import annotations

import mmap
from collections.abc import Iterable
from pathlib import Path

import onnxruntime
import pytest


def unknown_to(library: str, names: Iterable[str]) -> list[str]:
    """Those of `names` that are no string in `library` (a pattern); skips without that library."""
    found = list((Path(onnxruntime.__file__).parent / "capi").glob(library))
    if not found:
        pytest.skip(f"this build of ONNX Runtime has no {library}: it is not that for GPUs")
    with found[0].open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        # A string ends with a zero; what precedes it is a prefix that compilers share between strings.
        return [name for name in names if content.find(name.encode() + b"\0") < 0]
