"""The settings of each objective: what a recipe may say in its section [objective].

Each class says what it minimises; x' is the perturbed image, f the logits, p their softmax.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BeforeValidator, Field, model_validator

from training.contrastive import Distance
from training.section import Section

Selection: TypeAlias = Literal["global", "hard_local", "soft_local", "leaked_local"]


class StandardSettings(Section):
    """L = CE(f(x), y)."""

    name: Literal["standard"] = "standard"
    label_smoothing: float = Field(0.0, ge=0.0, lt=1.0)
    augmentation: Literal["crop_flip", "trivial_wide"] = "crop_flip"


class PgdAtSettings(Section):
    """L = CE(f(x'), y)."""

    name: Literal["pgd_at"] = "pgd_at"
    label_smoothing: float = Field(0.0, ge=0.0, lt=1.0)


class TradesSettings(Section):
    """L = CE(f(x), y) + beta KL(p(x) || p(x'))."""

    name: Literal["trades"] = "trades"
    beta: float = Field(6.0, ge=0.0)
    label_smoothing: float = Field(0.0, ge=0.0, lt=1.0)


class MartSettings(Section):
    """L = BCE(f(x'), y) + weight (1 - p_y(x)) KL(p(x) || p(x'))."""

    name: Literal["mart"] = "mart"
    weight: float = Field(5.0, ge=0.0)


class ThreeViewSettings(Section):
    """L = CE(f(v1), y) + weight * three-view InfoNCE."""

    weight: float = Field(0.5, ge=0.0)
    temperature: float = Field(0.1, gt=0.0)
    projection: int = Field(128, ge=2)
    positives: Literal["instance", "label"] = "instance"
    """Whether only views of one image attract each other, or all images of one class."""
    label_smoothing: float = Field(0.0, ge=0.0, lt=1.0)


class CleadSettings(ThreeViewSettings):
    """The three-view loss, and what perturbations maximise."""

    name: Literal["clead"] = "clead"
    climb: Literal["cross_entropy", "contrast", "sum"] = "cross_entropy"
    """CE(f(v1), y), l(u, v1), or CE(f(v1), y) + weight * l(u, v1)."""

    @model_validator(mode="after")
    def _climbs_what_it_descends(self) -> CleadSettings:
        if not self.weight and self.climb != "cross_entropy":
            raise ValueError(f"climb = {self.climb!r} needs a contrast in the loss: weight must not be 0")
        return self


class CleadSimultaneousSettings(ThreeViewSettings):
    """The three-view loss, descended by the parameters and climbed by the perturbations."""

    name: Literal["clead_simultaneous"] = "clead_simultaneous"
    replays: int = Field(4, ge=1)
    """Updates in a row on each batch, each of the perturbation as well."""


STATIC_EPS = 8 / 255
"""Of the adversarial images of `clead_static`, which are l-infinity always."""


class CleadStaticSettings(Section):
    """L = ( l(u, v1) + l(u, v2) ) / 2, without labels; a linear head is trained afterwards."""

    name: Literal["clead_static"] = "clead_static"
    surrogate: str = Field(min_length=1)
    """Folder of the run, trained without perturbations, that the adversarial images are made against."""
    attacks: tuple[Literal["fgsm", "pgd", "cw"], ...] = Field(("fgsm", "pgd", "cw"), min_length=1)
    """Each image meets one of them, with the settings of `training.adversarial_set`."""
    temperature: float = Field(0.1, gt=0.0)
    projection: int = Field(128, ge=2)

    @model_validator(mode="after")
    def _names_each_attack_once(self) -> CleadStaticSettings:
        if len(set(self.attacks)) < len(self.attacks):
            raise ValueError(
                f"attacks names one twice: {', '.join(self.attacks)}; each has the same share of the images"
            )
        return self


class AsclSettings(Section):
    """L = clean_weight CE(x) + CE(x') + contrast_weight SCL + divergence_weight KL(p(x) || p(x'))."""

    name: Literal["ascl"] = "ascl"
    selection: Selection = "leaked_local"
    crops: int = Field(2, ge=1, le=2)
    """Random crops of each image; each brings its clean and its adversarial version into the contrast."""
    clean_weight: float = Field(0.0, ge=0.0)
    contrast_weight: float = Field(1.0, ge=0.0)
    divergence_weight: float = Field(0.2, ge=0.0)
    """Per sample. The public code averages over classes too: its 2 is 0.2 for ten classes."""
    temperature: float = Field(0.2, gt=0.0)
    distance: Distance = "linf"
    projection: int = Field(128, ge=2)


class RSupConSettings(Section):
    """L = S(adv(t, s); adv(t, s) and b) + S(b; adv(t, s))."""

    name: Literal["rsupcon"] = "rsupcon"
    temperature: float = Field(0.07, gt=0.0)
    projection: int = Field(128, ge=2)


WITHOUT_CLASSIFIER = (CleadStaticSettings, RSupConSettings)
"""Objectives that train an encoder only: a linear head is trained after them."""


def _with_name(table: Any) -> Any:
    # pydantic names the accepted ones where a name is wrong, but not where it is missing.
    return {"name": "", **table} if isinstance(table, dict) else table


BY_NAME = (Field(discriminator="name"), BeforeValidator(_with_name))
"""What tells the settings of a union apart."""

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
    *BY_NAME,
]
