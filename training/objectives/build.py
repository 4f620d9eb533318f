"""Objectives by their settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from training.objectives import settings as of
from training.objectives.ascl import Ascl
from training.objectives.clead import Clead
from training.objectives.clead_simultaneous import CleadSimultaneous
from training.objectives.clead_static import CleadStatic
from training.objectives.mart import Mart
from training.objectives.objective import Context, TrainingObjective
from training.objectives.pgd_at import PgdAt
from training.objectives.rsupcon import RSupCon
from training.objectives.standard import Standard
from training.objectives.trades import Trades

_OBJECTIVES: dict[type, Callable[[Any, Context], TrainingObjective]] = {
    of.AsclSettings: Ascl,
    of.CleadSettings: Clead,
    of.CleadSimultaneousSettings: CleadSimultaneous,
    of.CleadStaticSettings: CleadStatic,
    of.MartSettings: Mart,
    of.PgdAtSettings: PgdAt,
    of.RSupConSettings: RSupCon,
    of.StandardSettings: Standard,
    of.TradesSettings: Trades,
}


def build_objective(settings: of.ObjectiveSettings, context: Context) -> TrainingObjective:
    """The objective that `settings` belong to."""
    return _OBJECTIVES[type(settings)](settings, context)
