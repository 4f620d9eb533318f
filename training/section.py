"""What all sections of a recipe share."""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


class RecipeError(ValueError):
    """A recipe that cannot be used; the message names the field and what it accepts."""


def pixels(text: str) -> float:
    """'8/255' as 0.0314: eps is easier to read as a fraction of the 8-bit range.

    Raises:
        ValueError: if it is neither a finite number nor a fraction of two.
    """
    numerator, slash, denominator = text.partition("/")
    try:
        value = float(numerator) / (float(denominator) if slash else 1.0)
    except (ValueError, ZeroDivisionError):
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{text!r} is not a number or a fraction such as '8/255'")
    return value


Pixels = Annotated[
    float,
    BeforeValidator(lambda value: pixels(value) if isinstance(value, str) else value),
    Field(ge=0.0),
]


class Section(BaseModel):
    """Frozen; an unknown field is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
