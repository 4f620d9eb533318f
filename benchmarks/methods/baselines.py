"""Which baseline an arm is to be compared with: the one that trains on the same attack."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from benchmarks.methods.measured import Arm

STANDARD_TRAINING = "pgd-at"
"""What C-LEAD's claim is about: standard adversarial training."""
_ATTACK = ("name", "norm", "eps", "steps", "step_size", "noise")
_WITHOUT = ("standard", "clead_static", "clead_simultaneous")
"""Objectives that do not run the recipe's attack on the current network."""


def same_attack(arm: Arm, among: Iterable[Arm]) -> Arm | None:
    """The plain adversarial training with this arm's attack; None for itself, and where there is none.

    Where the attack starts may differ (TRADES), and what it climbs.
    """
    recipe = _recipe(arm)
    if _plain(recipe) or recipe["objective"]["name"] in _WITHOUT:
        return None
    attack = [recipe["attack"][field] for field in _ATTACK]
    plain = [other for other in among if _plain(_recipe(other))]
    return next((o for o in plain if [_recipe(o)["attack"][field] for field in _ATTACK] == attack), None)


def _plain(recipe: Mapping[str, Any]) -> bool:
    optimiser = recipe["optimiser"]
    return (
        recipe["objective"]["name"] == "pgd_at"
        and not optimiser["average"]
        and not optimiser["weight_perturbation"]
    )


def _recipe(arm: Arm) -> Mapping[str, Any]:
    return arm.results[0].recipe
