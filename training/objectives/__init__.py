"""Objectives by the name that a recipe gives. Each file holds one: its settings, its views, its loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, TypeAlias

from pydantic import Field

from training.objectives.ascl import Ascl, AsclSettings
from training.objectives.clead import Clead, CleadSettings
from training.objectives.clead_simultaneous import CleadSimultaneous, CleadSimultaneousSettings
from training.objectives.clead_static import CleadStatic, CleadStaticSettings
from training.objectives.mart import Mart, MartSettings
from training.objectives.objective import Context, TrainingObjective
from training.objectives.pgd_at import PgdAt, PgdAtSettings
from training.objectives.rsupcon import RSupCon, RSupConSettings
from training.objectives.standard import Standard, StandardSettings
from training.objectives.trades import Trades, TradesSettings

ObjectiveSettings: TypeAlias = Annotated[
    AsclSettings
    | CleadSettings
    | CleadSimultaneousSettings
    | CleadStaticSettings
    | MartSettings
    | PgdAtSettings
    | RSupConSettings
    | StandardSettings
    | TradesSettings,
    Field(discriminator="name"),
]

_OBJECTIVES: dict[type, Callable[[Any, Context], TrainingObjective]] = {
    AsclSettings: Ascl,
    CleadSettings: Clead,
    CleadSimultaneousSettings: CleadSimultaneous,
    CleadStaticSettings: CleadStatic,
    MartSettings: Mart,
    PgdAtSettings: PgdAt,
    RSupConSettings: RSupCon,
    StandardSettings: Standard,
    TradesSettings: Trades,
}

WITHOUT_CLASSIFIER = (CleadStaticSettings, RSupConSettings)
"""Objectives that train an encoder only: a linear head is trained after them."""


def build_objective(settings: ObjectiveSettings, context: Context) -> TrainingObjective:
    """The objective that `settings` belong to."""
    return _OBJECTIVES[type(settings)](settings, context)
