"""eps as people read it."""

from __future__ import annotations

UNKNOWN = "-"


def radius(eps: float | None, norm: str) -> str:
    """For a column: l-inf in 255ths, as pixels are stored, l2 and l1 as they are."""
    if eps is None:
        return UNKNOWN
    return f"{eps * 255:.2f}/255" if norm == "linf" else f"{eps:.4f}"


def short_radius(eps: float, norm: str) -> str:
    """For a sentence: the same without zeros at the end, as in 8/255."""
    number, slash, unit = radius(eps, norm).partition("/")
    return f"{number.rstrip('0').rstrip('.')}{slash}{unit}"
