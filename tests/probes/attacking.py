"""The attacks as tests run them: against the predicted labels of small models, on NumPy and torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from probes.arrays import Array
from probes.attacks.apgd import apgd
from probes.attacks.fmn import Nearest, fmn
from probes.attacks.pgd import pgd
from probes.attacks.result import AttackResult
from probes.attacks.square import square
from probes.budget import Budget
from probes.classifier import Classifier
from probes.findings import Findings
from probes.goal import Goal
from probes.ladder import Aim, Ladder
from probes.losses import Loss
from probes.objective import untargeted
from probes.threat import L1, L2, Linf, Norm, Threat, threat_named
from tests.probes.models import Convert, Linear, OneByOne, TwoLayer, on, predicted


@dataclass(frozen=True)
class InBall:
    """An attack that looks for the worst point of a ball."""

    name: str
    run: Callable[..., AttackResult]
    length: str
    """The option that says how long it goes on."""
    steps: int
    queries: bool
    some_flip: dict[str, float]
    """Radii at which some of the images flip and some do not."""
    many_steps: int

    def __call__(
        self,
        convert: Convert,
        model: Linear | TwoLayer,
        batch: Array,
        eps: Array,
        threat: Threat,
        *,
        loss: Loss = Loss.MARGIN,
        **options: Any,
    ) -> AttackResult:
        """Against the predicted labels, eps a number or float32[N]; the result as NumPy arrays."""
        labels = convert(predicted(model, batch))
        objective = untargeted(OneByOne(on(convert, model)), labels, loss=loss)
        radii = convert(np.broadcast_to(np.asarray(eps, dtype=np.float32), (len(batch),)).copy())
        options = {self.length: self.steps, **options}
        if "watch" in options:
            options["on_query" if self.queries else "on_step"] = options.pop("watch")
        result = self.run(
            objective.query if self.queries else objective,
            convert(batch),
            threat=threat,
            eps=radii,
            **options,
        )
        return AttackResult(*(np.asarray(array) for array in result))


GRADIENT = {"linf": 0.02, "l2": 0.12, "l1": 0.4}
PGD = InBall("pgd", pgd, "steps", 10, False, GRADIENT, 10)
APGD = InBall("apgd", apgd, "steps", 10, False, GRADIENT, 10)
SQUARE = InBall("square", square, "queries", 40, True, {"linf": 0.04, "l2": 0.25, "l1": 0.8}, 120)
ATTACKS = [PGD, APGD, SQUARE]
THREATS: list[Threat] = [Linf(), L2(), L1()]
attacks = pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
threats = pytest.mark.parametrize("threat", THREATS, ids=lambda threat: threat.norm)


def nearest(
    convert: Convert, model: Linear | TwoLayer, batch: Array, threat: Threat, **options: Any
) -> Nearest:
    """FMN against the predicted labels, the result as NumPy arrays."""
    objective = untargeted(OneByOne(on(convert, model)), convert(predicted(model, batch)), loss=Loss.MARGIN)
    found = fmn(objective, convert(batch), **{"threat": threat, "steps": 50, **options})
    return Nearest(*(np.asarray(array) for array in found))


def ladder_around(
    model: Classifier,
    image: Array,
    *,
    norm: Norm = "linf",
    aims: Sequence[Aim] = (Aim(Loss.MARGIN),),
    restarts: int = 2,
    budget: Budget | None = None,
) -> Ladder:
    """A ladder that nothing has climbed yet, to lose class 0 of `image` [C, H, W]."""
    budget = budget or Budget()
    return Ladder(
        model,
        Findings(model, image, goal=Goal(label=0), norm=norm, budget=budget),
        threat=threat_named(norm),
        aims=aims,
        restarts=restarts,
        seed=0,
        budget=budget,
        on_step=lambda: None,
    )
