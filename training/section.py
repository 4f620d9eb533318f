"""What all sections of a recipe share."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from probes.pixels import pixels


class RecipeError(ValueError):
    """A recipe that cannot be used; the message names the field and what it accepts."""


Pixels = Annotated[
    float,
    BeforeValidator(lambda value: pixels(value) if isinstance(value, str) else value),
    Field(gt=0.0),
]


class Section(BaseModel):
    """Frozen; an unknown field is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
