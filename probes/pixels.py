"""Sizes in [0, 1] pixels as people write them."""

from __future__ import annotations

import math


def pixels(text: str) -> float:
    """'8/255' or '0.031' as a number: eps is easier to read as a fraction of the 8-bit range.

    Raises:
        ValueError: if it is neither a finite number nor a fraction of two.
    """
    numerator, slash, denominator = text.partition("/")
    try:
        value = float(numerator) / (float(denominator) if slash else 1.0)
    except (ValueError, ZeroDivisionError):
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{text[:40]!r} is not a number or a fraction such as '8/255'")
    return value
