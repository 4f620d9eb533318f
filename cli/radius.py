"""eps as people read it: l-inf in 255ths, as pixels are stored, l2 and l1 as they are."""

from __future__ import annotations

import math
from collections.abc import Callable

UNKNOWN = "-"
_UNNOTICED = 1e-3
"""Of the last digit that is shown: what rounding to floats does is not to be rounded up or down once more."""


def radius(eps: float | None, norm: str) -> str:
    """For a column: always with the same number of digits."""
    if eps is None:
        return UNKNOWN
    return _text(eps, norm, round)


def radius_below(eps: float | None, norm: str) -> str:
    """For a column, of what was attacked in vain or proved: rounded down, for beyond it nothing is known."""
    if eps is None:
        return UNKNOWN
    return _text(eps, norm, _down)


def short_radius(eps: float, norm: str) -> str:
    """For a sentence: without zeros at the end, as in 8/255."""
    return _short(_text(eps, norm, round))


def held_radius(eps: float, norm: str) -> str:
    """The same, of what was attacked in vain: rounded down, for beyond it nothing is claimed."""
    return _short(_text(eps, norm, _down))


def flipped_radius(eps: float, norm: str) -> str:
    """The same, of what flips: rounded up, so that the ball that is named holds the example."""
    return _short(_text(eps, norm, lambda digits: math.ceil(digits - _UNNOTICED)))


def _down(digits: float) -> int:
    return math.floor(digits + _UNNOTICED)


def _text(eps: float, norm: str, rounded: Callable[[float], int]) -> str:
    if norm == "linf":
        return f"{rounded(eps * 255 * 100) / 100:.2f}/255"
    return f"{rounded(eps * 10_000) / 10_000:.4f}"


def _short(text: str) -> str:
    number, slash, unit = text.partition("/")
    return f"{number.rstrip('0').rstrip('.')}{slash}{unit}"
