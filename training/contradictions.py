"""Recipes that contradict themselves: fields that nothing reads, sizes of another threat, drops too early.

Looked for in what a person writes. A checkpoint's recipe has every field written out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from training.objectives.settings import (
    STATIC_EPS,
    CleadSimultaneousSettings,
    CleadStaticSettings,
    StandardSettings,
)

if TYPE_CHECKING:
    from training.recipe import Recipe

_TAKEN: Mapping[str, Collection[str]] = {
    "pgd": ("steps", "step_size", "start"),
    "cw": ("steps", "step_size", "start"),
    "fgsm": (),
    "fgsm_rs": (),
    "noise_fgsm": ("noise",),
}
"""The fields of [attack] that each attack reads, beside norm and eps."""
_THREE_VIEW = ("weight", frozenset({"temperature", "projection", "positives"}))
_CONTRAST: Mapping[str, tuple[str, frozenset[str]]] = {
    "clead": _THREE_VIEW,
    "clead_simultaneous": _THREE_VIEW,
    "ascl": ("contrast_weight", frozenset({"temperature", "projection", "selection", "distance"})),
}
"""By objective, the weight of its contrast, and the fields of [objective] that only the contrast reads."""


def contradictions(recipe: Recipe, *, written: Mapping[str, Any], overrides: Collection[str]) -> list[str]:
    """What contradicts itself in `recipe`, a sentence each that names the fields.

    A field that an override leaves without effect may stay in the file.

    Args:
        written: the content of the file, without the overrides.
        overrides: keys of what was put on top of it, such as optimiser.epochs.
    """
    return [
        *_idle(recipe, overrides),
        *_sizes_of_another_norm(recipe, written, overrides),
        *_other_than_the_static_set(recipe),
        *_drops_in_the_warmup(recipe),
    ]


def _idle(recipe: Recipe, overrides: Collection[str]) -> Iterator[str]:
    for section, field, because, value in (
        *_idle_attack(recipe),
        *_idle_contrast(recipe),
        *_idle_schedule(recipe),
    ):
        name = f"{section}.{field}"
        if _covered(name, overrides) or not _covered(because, overrides):
            yield f"{name} has no effect with {because} = {value!r}; leave it out"


def _idle_attack(recipe: Recipe) -> Iterator[tuple[str, str, str, object]]:
    taken = _taken(recipe)
    decided_by = "attack" if "name" in taken else "objective"
    for field in sorted(recipe.attack.model_fields_set - taken - {"norm", "eps"}):
        yield "attack", field, f"{decided_by}.name", getattr(recipe, decided_by).name


def _taken(recipe: Recipe) -> set[str]:
    """The fields of [attack] that training reads, beside norm and eps, which say what is measured too."""
    taken: set[str] = set()
    for objective in (recipe.objective, *((recipe.head.objective,) if recipe.head else ())):
        if isinstance(objective, CleadSimultaneousSettings):
            taken.add("step_size")
        elif not isinstance(objective, StandardSettings | CleadStaticSettings):
            taken.update({"name", "mix"}, *(_TAKEN[name] for name in recipe.attack.names))
    return taken


def _idle_contrast(recipe: Recipe) -> Iterator[tuple[str, str, str, object]]:
    weight, fields = _CONTRAST.get(recipe.objective.name, ("", frozenset()))
    if weight and not getattr(recipe.objective, weight):
        for field in sorted(recipe.objective.model_fields_set & fields):
            yield "objective", field, f"objective.{weight}", 0


def _idle_schedule(recipe: Recipe) -> Iterator[tuple[str, str, str, object]]:
    for section, settings in (("optimiser", recipe.optimiser), ("head", recipe.head)):
        if settings is None:
            continue
        written = settings.model_fields_set
        if settings.schedule != "step":
            for field in sorted({"milestones", "decay"} & written):
                yield section, field, f"{section}.schedule", settings.schedule
        if not settings.momentum and "nesterov" in written:
            yield section, "nesterov", f"{section}.momentum", 0
        if not settings.weight_perturbation and "weight_perturbation_from" in written:
            yield section, "weight_perturbation_from", f"{section}.weight_perturbation", 0


def _sizes_of_another_norm(
    recipe: Recipe, written: Mapping[str, Any], overrides: Collection[str]
) -> Iterator[str]:
    attack, section = recipe.attack, written.get("attack")
    before = section.get("norm", "linf") if isinstance(section, dict) else "linf"
    for field in ("eps", *({"step_size"} & _taken(recipe))):
        name = f"attack.{field}"
        if field in attack.model_fields_set:
            own, meant = attack.norm == before or _covered(name, overrides), before
        else:
            # The defaults are sizes in this norm.
            own, meant = attack.norm == "linf", "linf"
        if not own:
            size = getattr(attack, field)
            yield f"attack.norm = {attack.norm!r} needs its own {name}: {size:.4g} is meant for {meant!r}"


def _other_than_the_static_set(recipe: Recipe) -> Iterator[str]:
    attack = recipe.attack
    alike = (attack.norm, attack.eps) == ("linf", STATIC_EPS)
    if isinstance(recipe.objective, CleadStaticSettings) and not alike:
        yield (
            "objective.name = 'clead_static' trains on images made with norm 'linf' and eps 8/255 always; "
            f"leave out attack.norm ({attack.norm!r}) and attack.eps ({attack.eps:.4g})"
        )


def _drops_in_the_warmup(recipe: Recipe) -> Iterator[str]:
    for section, settings in (("optimiser", recipe.optimiser), ("head", recipe.head)):
        if settings is None or settings.schedule != "step":
            continue
        early = [milestone for milestone in settings.milestones if milestone < settings.warmup]
        if early:
            # The warm-up rises to the full rate whatever the milestones say.
            yield (
                f"{section}.milestones has {', '.join(map(str, early))}, before the end of the warm-up "
                f"({section}.warmup = {settings.warmup}): the rate would rise past it and then drop at once; "
                f"lower {section}.warmup to {min(early)} at most, or give later milestones"
            )


def _covered(name: str, overrides: Collection[str]) -> bool:
    """Whether an override gives the field `name`, alone or with its section."""
    return any(name == key or name.startswith(f"{key}.") for key in overrides)
