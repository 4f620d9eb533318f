"""A training recipe: everything that decides a run, read from TOML and checked before any work."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from training.contradictions import contradictions
from training.objectives.settings import (
    BY_NAME,
    WITHOUT_CLASSIFIER,
    CleadSettings,
    CleadSimultaneousSettings,
    ObjectiveSettings,
    PgdAtSettings,
    RSupConSettings,
    StandardSettings,
    TradesSettings,
)
from training.perturbation import Attack
from training.recipe_errors import problems
from training.section import RecipeError, Section


class Data(Section):
    """Which images, and how many of the training images are held out to choose the checkpoint."""

    dataset: str = "cifar10"
    """A name for the manifest; torchvision downloads `cifar10` and `cifar100` where they are absent."""
    size: int = Field(32, ge=8, le=1024)
    """Height and width of the model's input; other images are resized and cropped to it."""
    holdout: int = Field(1000, ge=10)
    limit: int | None = Field(None, ge=20)
    """Train on this many images, spread over the data (for trying things out)."""

    @model_validator(mode="after")
    def _leaves_enough(self) -> Data:
        if self.limit is not None and 2 * self.holdout > self.limit:
            raise ValueError(
                f"holdout = {self.holdout} would hold out more than half of limit = {self.limit} images; "
                f"lower holdout to {self.limit // 2}, or less"
            )
        return self


class NetworkChoice(Section):
    """`build_network`'s arguments."""

    name: str = "compact_resnet"
    options: dict[str, Any] = Field(default_factory=dict)


class Optimiser(Section):
    """SGD with momentum, its schedule, and two additions that go with any objective."""

    epochs: int = Field(30, ge=1)
    batch_size: int = Field(128, ge=2)
    """Of all processes together."""
    learning_rate: float = Field(0.1, gt=0.0)
    momentum: float = Field(0.9, ge=0.0, lt=1.0)
    nesterov: bool = True
    """Nesterov's momentum, or the plain one."""
    weight_decay: float = Field(5e-4, ge=0.0)
    schedule: Literal["one_cycle", "cosine", "step"] = "one_cycle"
    """After the warm-up: down to zero, linearly or along a cosine, or times `decay` at each milestone."""
    warmup: float = Field(0.2, ge=0.0, lt=1.0)
    """Share of all steps during which the learning rate rises from zero."""
    milestones: tuple[Annotated[float, Field(gt=0.0, lt=1.0)], ...] = (0.5, 0.75)
    """Of the schedule `step`, as shares of all steps."""
    decay: float = Field(0.1, gt=0.0, lt=1.0)
    average: float = Field(0.0, ge=0.0, lt=1.0)
    """Decay of the weights' moving average, which is then what is selected and saved; 0: none."""
    weight_perturbation: float = Field(0.0, ge=0.0)
    """Gamma of adversarial weight perturbation (arXiv 2004.05884); 0: none."""
    weight_perturbation_from: float = Field(0.0, ge=0.0, lt=1.0)
    """Share of all steps before it begins."""


class Head(Optimiser):
    """The linear classifier that is trained after an encoder, whose weights are then fixed."""

    epochs: int = Field(10, ge=1)
    weight_decay: float = Field(0.0, ge=0.0)
    schedule: Literal["one_cycle", "cosine", "step"] = "step"
    warmup: float = Field(0.0, ge=0.0, lt=1.0)
    objective: Annotated[
        StandardSettings | PgdAtSettings | TradesSettings,
        *BY_NAME,
    ] = StandardSettings()
    batch_norm: Literal["eval", "train"] = "eval"
    """Whether the encoder's batch norm keeps its statistics, or still follows the batches."""


class Selection(Section):
    """Held-out images, attacked with PGD after each epoch, choose the best checkpoint."""

    by: Literal["robust", "clean"] = "robust"
    """Which of their accuracies: clean by default for `standard`, whose robust one is highest before it has
    learnt anything. Robust accuracy counts only above the share of the commonest held-out class, which one
    answer to everything reaches too; where no epoch gets there, the clean one decides."""

    steps: int = Field(10, ge=1)
    batch_size: int = Field(250, ge=1)


class Recipe(Section):
    """All that decides a run, besides the data folder and the machine."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    seed: int = Field(0, ge=0, lt=2**32)
    data: Data = Data()
    network: NetworkChoice = NetworkChoice()
    start: str | None = None
    """Folder of a run with the same network, whose weights this one starts from."""
    objective: ObjectiveSettings = CleadSettings()
    attack: Attack = Attack()
    optimiser: Optimiser = Optimiser()
    head: Head | None = None
    """For objectives that train an encoder only, and only for those."""
    selection: Selection = Selection()
    checkpoint_seconds: float = Field(300.0, gt=0.0)
    """A checkpoint is written after each epoch, and within one whenever this much time has passed."""

    compile: bool = False
    """Compile the network (torch.compile), where it runs on CUDA."""

    @model_validator(mode="before")
    @classmethod
    def _standard_is_selected_by_clean_accuracy(cls, content: Any) -> Any:
        objective = content.get("objective") if isinstance(content, dict) else None
        selection = content.get("selection", {}) if objective else None
        if (
            isinstance(selection, dict)
            and isinstance(objective, dict)
            and objective.get("name") == "standard"
        ):
            return {**content, "selection": {"by": "clean", **selection}}
        return content

    @model_validator(mode="after")
    def _classifies(self) -> Recipe:
        encoder_only = isinstance(self.objective, WITHOUT_CLASSIFIER)
        if encoder_only and self.head is None:
            raise ValueError(
                f"objective {self.objective.name!r} trains an encoder only: add a section [head]"
            )
        if not encoder_only and self.head is not None:
            raise ValueError(f"objective {self.objective.name!r} trains a classifier: it takes no [head]")
        return self

    @model_validator(mode="after")
    def _attack_suits(self) -> Recipe:
        for objective in (self.objective, *((self.head.objective,) if self.head else ())):
            if problem := _unsuited(self.attack, objective):
                raise ValueError(f"attack.name = {self.attack.name!r} {problem}")
        return self

    def same_training(self, other: Recipe) -> bool:
        """Whether both train alike, step by step: they may differ in what only suits them to a machine.

        That is the size of the batches in which held-out images are attacked, and how often checkpoints are
        written.
        """
        return self._training() == other._training()

    def _training(self) -> dict[str, Any]:
        return self.model_dump(exclude={"checkpoint_seconds": True, "selection": {"batch_size"}})


def _unsuited(attack: Attack, objective: Section) -> str:
    """Why `objective` cannot be trained with `attack`; empty where it can."""
    if isinstance(objective, CleadSimultaneousSettings) and attack.name != "pgd":
        return "is not used by 'clead_simultaneous', which takes eps, norm and step_size only: leave it out"
    own = isinstance(objective, TradesSettings | RSupConSettings)
    if (own or getattr(objective, "climb", "cross_entropy") != "cross_entropy") and attack.needs_labels:
        return (
            "goes with objectives whose perturbations climb the cross-entropy only; "
            "use pgd, fgsm_rs or noise_fgsm here"
        )
    if isinstance(objective, TradesSettings) and attack.name == "fgsm":
        return "starts at the image, where the divergence that 'trades' climbs is flat; use pgd or fgsm_rs"
    return ""


def read_recipe(path: Path, overrides: Iterable[str] = ()) -> Recipe:
    """The recipe in the TOML file `path`, with `overrides` such as 'optimiser.epochs=3' put on top.

    Raises:
        RecipeError: if the file cannot be read, a field is unknown, missing or out of range, or it
            contradicts itself (`training.contradictions`).
    """
    try:
        written = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"cannot read the recipe {path}: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{path} is not valid TOML: {error}") from error
    content = deepcopy(written)
    keys = [_override(content, override) for override in overrides]
    recipe = recipe_from(content, origin=str(path))
    if found := contradictions(recipe, written=written, overrides=keys):
        raise RecipeError(f"{path}: {'; '.join(found)}")
    return recipe


def recipe_from(content: Mapping[str, Any], *, origin: str) -> Recipe:
    """The recipe with these fields; `origin` says in errors where they come from.

    Raises:
        RecipeError: if a field is unknown, missing or out of range.
    """
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        raise RecipeError(f"{origin}: {problems(error, Recipe)}") from error


def find_recipe(name: str) -> Path:
    """A recipe by path, by path inside this package (`recipes/x.toml`), or by a shipped one's name.

    Raises:
        RecipeError: if there is none; the message lists the shipped ones.
    """
    here = Path(__file__).parent
    for candidate in (Path(name), here / name, here / "recipes" / f"{name}.toml"):
        if candidate.is_file():
            return candidate
    shipped = sorted(path.stem for path in (here / "recipes").glob("*.toml"))
    near = difflib.get_close_matches(name, shipped, n=1)
    meant = f" (did you mean {near[0]}?)" if near else ""
    raise RecipeError(
        f"no recipe {name!r}{meant}: give a TOML file, or one of the shipped recipes: {', '.join(shipped)}"
    )


def _override(content: dict[str, Any], override: str) -> str:
    """Put `override` into `content`, and return its key."""
    key, separator, text = override.partition("=")
    if not separator or not key.strip():
        raise RecipeError(f"--set {override!r}: write it as section.field=value, e.g. optimiser.epochs=3")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    *sections, field = key.strip().split(".")
    for section in sections:
        content = content.setdefault(section, {})
        if not isinstance(content, dict):
            raise RecipeError(f"--set {override!r}: {section!r} is a field, not a section")
    content[field] = value
    return ".".join((*sections, field))
