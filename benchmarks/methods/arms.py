"""The arms of the study as recipes: each with the whole number of epochs nearest to the common budget."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from probes.cost import FORWARD
from training.objectives import settings as of
from training.perturbation import Attack, AttackName
from training.recipe import Recipe, recipe_from

STUDY = Path(__file__).with_name("study.toml")
SURROGATE = "standard"
"""The arm that others start from, or make adversarial images on; in recipes it is called 'surrogate'."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One arm with one seed."""

    arm: str
    recipe: Recipe
    passes: float
    """Forward-and-backward passes of one training image in one epoch."""

    @property
    def name(self) -> str:
        """Of its folder and of its file with results."""
        return f"{self.arm}-{self.recipe.seed}"

    @property
    def spent(self) -> float:
        """Forward-and-backward passes of one training image in the whole run."""
        head = 0 if self.recipe.head is None else self.recipe.head.epochs
        return passes_spent(self.passes, epochs=self.recipe.optimiser.epochs, head_epochs=head)

    @property
    def surrogate(self) -> str | None:
        """The run with this seed whose images are shown to this one; none for the surrogate itself."""
        return None if self.arm == SURROGATE else f"{SURROGATE}-{self.recipe.seed}"

    @property
    def portable(self) -> Recipe:
        """The recipe with the names of runs in place of this machine's folders."""
        content = self.recipe.model_dump(mode="json")
        if self.recipe.start is not None:
            content["start"] = self.surrogate
        if "surrogate" in content["objective"]:
            content["objective"]["surrogate"] = self.surrogate
        return recipe_from(content, origin=self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """What `study.toml` says."""

    passes: float
    """The budget for each training image, which whole epochs meet as nearly as they can."""
    test_images: int
    runs: tuple[Run, ...]
    """All arms with the first seed, then all with the second, and so on."""


def read_study(work: Path, file: Path = STUDY) -> Study:
    """The study, whose runs lie in the folder `work`."""
    content = tomllib.loads(file.read_text(encoding="utf-8"))
    runs = [
        _run(arm, seed, content["recipe"], changes, passes=content["passes"], work=work)
        for seed in content["seeds"]
        for arm, changes in content["arms"].items()
    ]
    return Study(passes=content["passes"], test_images=content["test_images"], runs=tuple(runs))


def _run(
    arm: str, seed: int, common: Mapping[str, Any], changes: Mapping[str, Any], *, passes: float, work: Path
) -> Run:
    surrogate = str(work / f"{SURROGATE}-{seed}")
    content: dict[str, Any] = {**common, "name": arm, "seed": seed}
    for section, values in changes.items():
        if section == "start":
            content[section] = surrogate
        elif section in ("attack", "optimiser"):
            content[section] = {**common[section], **values}
        else:
            content[section] = dict(values)
    if "surrogate" in content["objective"]:
        content["objective"]["surrogate"] = surrogate
    recipe = recipe_from(content, origin=f"{STUDY.name}, arm {arm}")
    cost = passes_per_image(recipe)
    head = 0 if recipe.head is None else recipe.head.epochs
    left = passes - passes_spent(cost, epochs=0, head_epochs=head)
    optimiser = recipe.optimiser.model_copy(update={"epochs": max(1, round(left / cost))})
    return Run(arm=arm, recipe=recipe.model_copy(update={"optimiser": optimiser}), passes=cost)


def passes_per_image(recipe: Recipe) -> float:
    """Forward-and-backward passes of one training image in one epoch: of the attack, and of the loss.

    What is made once, the static adversarial images and their surrogate, is not counted, nor a head.
    """
    attack = attack_passes(recipe.attack)
    match recipe.objective:
        case of.StandardSettings():
            attack, loss = 0.0, 1.0
        case of.PgdAtSettings():
            loss = 1.0
        case of.TradesSettings():
            attack, loss = attack + FORWARD, 2.0
        case of.MartSettings():
            loss = 2.0
        case of.CleadSettings(climb=climb):
            attack, loss = attack + (0.0 if climb == "cross_entropy" else FORWARD), 3.0
        case of.CleadSimultaneousSettings(replays=replays):
            attack, loss = 0.0, 3.0 * replays
        case of.CleadStaticSettings():
            attack, loss = 0.0, 3.0
        case of.AsclSettings(crops=crops):
            attack, loss = attack * crops, 2.0 * crops
        case of.RSupConSettings():
            attack, loss = 2.0 * attack + 3.0 * FORWARD, 3.0
    return attack + loss * (2.0 if recipe.optimiser.weight_perturbation else 1.0)


def passes_spent(passes: float, *, epochs: int, head_epochs: int) -> float:
    """Of one training image in a run: `passes` in each epoch, and forward ones alone in those of the head."""
    return passes * epochs + FORWARD * head_epochs


def attack_passes(attack: Attack) -> float:
    """Of one image, in the mean over a mix."""
    passes: dict[AttackName, float] = {"pgd": attack.steps, "cw": attack.steps}
    return sum(passes.get(name, 1.0) for name in attack.names) / len(attack.names)
