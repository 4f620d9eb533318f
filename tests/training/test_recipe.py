from __future__ import annotations

from pathlib import Path

import pytest

from training.networks import build_network
from training.recipe import RecipeError, find_recipe, read_recipe, recipe_from


def _write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "recipe.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_eps_may_be_a_fraction(tmp_path: Path) -> None:
    recipe = read_recipe(_write(tmp_path, 'name = "x"\n[attack]\neps = "8/255"\n'))
    assert recipe.attack.eps == 8 / 255


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('name = "x"\nepochs = 3\n', "epochs: Extra inputs"),
        ('name = "x"\n[attack]\neps = "eight"\n', "attack.eps: .*not a number or a fraction"),
        ('name = "x"\n[attack]\neps = "8/0"\n', "attack.eps"),
        ('name = "x"\n[attack]\neps = "1e400"\n', "attack.eps"),
        ('name = "x"\n[attack]\neps = 8\n', "did you mean '8/255'"),
        ('name = "x"\ncheckpoint_seconds = inf\n', "checkpoint_seconds: .*finite"),
        ('name = "x"\n[attack]\nname = "cw"\n', "attack.name"),
        ('name = "x"\n[attack]\nname = "noise_fgsm"\nnorm = "l2"\n', "attack: .*use name = 'pgd' for l2"),
        ('name = "x"\n[optimiser]\nepochs = 0\n', "optimiser.epochs"),
        ('name = "Not a name"\n', "name: String should match"),
        ("seed = 1\n", "name: Field required"),
        ("name = \n", "not valid TOML"),
    ],
)
def test_a_wrong_recipe_is_refused_by_field(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        read_recipe(_write(tmp_path, text))


def test_overrides_go_on_top(tmp_path: Path) -> None:
    path = _write(tmp_path, 'name = "x"\n[optimiser]\nepochs = 9\n')
    recipe = read_recipe(path, ["optimiser.epochs=2", "attack.eps=4/255", "name=y"])
    assert (recipe.optimiser.epochs, recipe.attack.eps, recipe.name) == (2, 4 / 255, "y")


@pytest.mark.parametrize("override", ["epochs", "=3", "name.x=3"])
def test_a_wrong_override_is_refused(tmp_path: Path, override: str) -> None:
    with pytest.raises(RecipeError, match="--set"):
        read_recipe(_write(tmp_path, 'name = "x"\n'), [override])


def test_shipped_recipes_are_found_and_valid() -> None:
    names = [path.stem for path in (Path(find_recipe("clead-cifar10-compact")).parent).glob("*.toml")]
    assert {"clead-cifar10-compact", "clead-cifar10-resnet18"} <= set(names)
    for name in names:
        recipe = read_recipe(find_recipe(name))
        assert recipe.name == name
        assert build_network(recipe.network.name, 10, recipe.network.options).num_classes == 10
        assert find_recipe(f"recipes/{name}.toml") == find_recipe(name)


def test_an_unknown_recipe_lists_the_shipped_ones() -> None:
    with pytest.raises(RecipeError, match="clead-cifar10-compact"):
        find_recipe("nothing")


def test_a_missing_file_is_an_error_of_the_recipe(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="cannot read the recipe"):
        read_recipe(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("name", "options"),
    [("vgg", {}), ("compact_resnet", {"depth": 3}), ("compact_resnet", {"widths": [0], "blocks": [1]})],
)
def test_unknown_networks_and_options_are_refused(name: str, options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"accepted are|does not take|all positive"):
        build_network(name, 10, options)


def test_a_recipe_survives_json() -> None:
    recipe = read_recipe(find_recipe("clead-cifar10-compact"))
    assert recipe_from(recipe.model_dump(mode="json"), origin="json") == recipe
