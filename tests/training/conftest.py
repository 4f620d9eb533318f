"""Small recipes on the slice of CIFAR-10 that lies in the repository."""

from __future__ import annotations

from pathlib import Path

import pytest

from training.recipe import Recipe, recipe_from

SLICE = Path(__file__).parents[1] / "data" / "cifar10"

TINY = {
    "name": "tiny",
    "seed": 3,
    "data": {"dataset": "cifar10", "holdout": 20},
    "network": {"name": "compact_resnet", "options": {"widths": [8, 16], "blocks": [1, 1]}},
    "objective": {"name": "clead", "projection": 16},
    "attack": {"name": "pgd", "steps": 2, "step_size": "4/255"},
    "optimiser": {"epochs": 2, "batch_size": 60},
    "selection": {"steps": 2},
}


@pytest.fixture
def data_dir() -> Path:
    """200 training and 100 test images of CIFAR-10."""
    return SLICE


@pytest.fixture
def tiny_recipe() -> Recipe:
    """Two epochs of three steps."""
    return recipe_from(TINY, origin="test")


@pytest.fixture
def tiny_recipe_file(tmp_path: Path) -> Path:
    """The same as a file."""
    path = tmp_path / "tiny.toml"
    path.write_text(
        """
name = "tiny"
seed = 3
data = { dataset = "cifar10", holdout = 20 }
network = { name = "compact_resnet", options = { widths = [8, 16], blocks = [1, 1] } }
objective = { name = "clead", projection = 16 }
attack = { name = "pgd", steps = 2, step_size = "4/255" }
optimiser = { epochs = 2, batch_size = 60 }
selection = { steps = 2 }
""",
        encoding="utf-8",
    )
    return path
