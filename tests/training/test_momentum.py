"""The momentum of the optimiser, and which shipped recipes have the plain one."""

from __future__ import annotations

import pytest

from tests.training.batches import Pixels, make_batch, make_context
from training.objectives.objective import Batch, StepLoss, TrainingObjective, Views
from training.phase import Phase
from training.processes import Processes
from training.recipe import Optimiser, find_recipe, read_recipe

PLAIN = ("ascl", "clead-static", "fgsm-rs", "mart", "n-fgsm", "pgd-at", "pgd-at-awp-ema", "rsupcon", "trades")


class Slope(TrainingObjective):
    """L = the sum of the biases, whose gradient is 1 everywhere."""

    def views(self, batch: Batch) -> Views:
        return {}

    def loss(self, views: Views, batch: Batch) -> StepLoss:
        return StepLoss(loss=self.context.network.fc.bias.sum())


# Velocities 1 and 1.9; Nesterov adds 0.9 of each to the gradient.
@pytest.mark.parametrize(
    ("settings", "moved"),
    [
        ({}, (1 + 0.9) + (1 + 0.9 * 1.9)),
        ({"nesterov": False}, 1 + 1.9),
        ({"momentum": 0.0}, 2.0),
    ],
)
def test_two_steps_down_a_slope(settings: dict[str, float], moved: float) -> None:
    network = Pixels()
    optimiser = Optimiser(
        epochs=1, schedule="step", milestones=(), warmup=0.0, learning_rate=0.01, weight_decay=0.0, **settings
    )  # type: ignore[arg-type]
    objective = Slope(make_context(network))  # type: ignore[arg-type]
    phase = Phase("optimiser", optimiser, objective, network, steps=2, processes=Processes())  # type: ignore[arg-type]
    before = network.fc.bias.detach().clone()
    for number in range(2):
        phase.step(make_batch(), number)
    assert (before - network.fc.bias.detach()).tolist() == pytest.approx([0.01 * moved] * 10, rel=1e-4)


def test_recipes_of_methods_whose_code_has_plain_momentum_have_it_too() -> None:
    plain = {
        path.stem.removesuffix("-cifar10-resnet18")
        for path in find_recipe("clead-cifar10-compact").parent.glob("*.toml")
        for recipe in [read_recipe(path)]
        if not recipe.optimiser.nesterov and not (recipe.head and recipe.head.nesterov)
    }
    assert plain == set(PLAIN)
