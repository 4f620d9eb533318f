from __future__ import annotations

from pathlib import Path

import pytest

from training.networks import build_network
from training.recipe import find_recipe, read_recipe, recipe_from
from training.section import RecipeError


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
        ('name = "x"\nepochs = 3\n', ": epochs: unknown field; accepted are: name, seed, data, network"),
        (
            "name = 'x'\n[optimizer]\n",
            r": optimizer: unknown field \(did you mean optimiser\?\); accepted are",
        ),
        (
            'name = "x"\n[attack]\nnam = "pgd"\n',
            r": attack\.nam: unknown field \(did you mean name\?\); accepted are: name, mix, norm, .*noise$",
        ),
        (
            'name = "x"\n[objective]\nname = "mart"\nlabel_smoothing = 0.1\n',
            r": objective\.label_smoothing: unknown field of 'mart'; accepted are: name, weight$",
        ),
        (
            'name = "x"\n[objective]\nname = "rsupcon"\n[head.objective]\nname = "trades"\nbet = 3\n',
            r": head\.objective\.bet: unknown field of 'trades' \(did you mean beta\?\); accepted are: name,",
        ),
        ('name = "x"\n[objective]\nname = "clead"\nweight = -1\n', r": objective\.weight: Input should be"),
        ('name = "x"\ndata = 3\n', "data: is a section with fields of its own, not 3"),
        ('name = "x"\nobjective = "mart"\n', "objective: is a section with fields of its own, not 'mart'"),
        ('name = "x"\n[attack]\neps = "eight"\n', "attack.eps: 'eight' is not a number or a fraction"),
        ('name = "x"\n[attack]\neps = "8/0"\n', "attack.eps"),
        ('name = "x"\n[attack]\neps = "1e400"\n', "attack.eps"),
        ('name = "x"\n[attack]\neps = 8\n', "did you mean '8/255'"),
        ('name = "x"\n[attack]\nstep_size = 2\n', "step_size is 2 .* did you mean '2/255'"),
        ('name = "x"\ncheckpoint_seconds = inf\n', "checkpoint_seconds: .*finite"),
        ('name = "x"\n[attack]\nname = "deepfool"\n', "attack.name"),
        ('name = "x"\n[attack]\nname = "mix"\n', "attack: .*a list of attacks in mix"),
        ('name = "x"\n[attack]\nmix = ["pgd"]\n', "attack: name = 'mix' goes .*other names without one"),
        ('name = "x"\n[objective]\nname = "simsiam"\n', "objective: .*'ascl', 'clead'"),
        ('name = "x"\n[objective]\nbeta = 3\n', "objective: name must be one of 'ascl', 'clead'"),
        (
            'name = "x"\n[objective]\nname = "rsupcon"\n[head.objective]\nbeta = 3\n',
            "head.objective: name must be one of 'standard', 'pgd_at', 'trades'",
        ),
        (
            'name = "x"\n[objective]\nname = "rsupcon"\n',
            r"recipe: objective 'rsupcon'.*add a section \[head\]",
        ),
        ('name = "x"\n[head]\nepochs = 2\n', r"'clead' trains a classifier: it takes no \[head\]"),
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


HEAD = '[head]\nobjective = { name = "trades" }\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[objective]\nname = "trades"\n[attack]\nname = "cw"\n', "attack.name = 'cw' goes with objectives"),
        ('[objective]\nname = "trades"\n[attack]\nname = "fgsm"\n', "'fgsm' starts at the image"),
        ('[objective]\nname = "clead"\nclimb = "sum"\n[attack]\nname = "cw"\n', "goes with objectives"),
        (
            '[objective]\nname = "clead_simultaneous"\n[attack]\nname = "mix"\nmix = ["pgd", "cw"]\n',
            "attack.name = 'mix' is not used by 'clead_simultaneous'",
        ),
        # Else it would fail after the encoder's training only.
        (
            f'[objective]\nname = "clead_static"\nsurrogate = "x"\n{HEAD}[attack]\nname = "cw"\n',
            "attack.name = 'cw' goes with objectives",
        ),
    ],
)
def test_an_attack_that_does_not_suit_the_objective_is_refused(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        read_recipe(_write(tmp_path, 'name = "x"\n' + text))


def test_an_unknown_field_of_an_override_is_told_like_one_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"optimiser\.epoch: unknown field \(did you mean epochs\?\)"):
        read_recipe(_write(tmp_path, 'name = "x"\n'), ["optimiser.epoch=3"])


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


COMPACT = r"'compact_resnet' does not take the options .*; its options are: widths, blocks, stem_stride"


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("vgg", {}, "'vgg'; accepted are: compact_resnet, resnet18_cifar, resnet18, resnet50"),
        ("resnet18", {"widths": [8]}, "'resnet18' does not take the options .* are: none"),
        ("compact_resnet", {"depth": 3}, COMPACT),
        ("compact_resnet", {"widths": 8}, COMPACT),
        ("compact_resnet", {"widths": [8, 16]}, COMPACT),
        ("compact_resnet", {"widths": [0], "blocks": [1]}, COMPACT),
        ("compact_resnet", {"widths": [8], "blocks": [10**12]}, COMPACT),
        ("compact_resnet", {"widths": [10**12], "blocks": [1]}, COMPACT),
        ("compact_resnet", {"widths": ["8"], "blocks": [1]}, COMPACT),
        ("compact_resnet", {"widths": [8.5], "blocks": [1]}, COMPACT),
        ("compact_resnet", {"widths": [], "blocks": []}, COMPACT),
        ("compact_resnet", {"stem_stride": 3}, COMPACT),
    ],
)
def test_unknown_networks_and_options_are_refused(
    name: str, options: dict[str, object], message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        build_network(name, 10, options)


def test_a_run_may_go_on_with_other_settings_of_the_machine_only() -> None:
    recipe = recipe_from({"name": "x"}, origin="test")
    for machine in ({"checkpoint_seconds": 5}, {"selection": {"batch_size": 7}}):
        assert recipe.same_training(recipe_from({"name": "x", **machine}, origin="test"))
    for training in ({"seed": 1}, {"selection": {"steps": 7}}, {"optimiser": {"batch_size": 7}}):
        assert not recipe.same_training(recipe_from({"name": "x", **training}, origin="test"))


@pytest.mark.parametrize(
    ("name", "drops"),
    [
        # From its script's epochs 75, 90 and 100 on, counted from 1; the others' drops come after theirs.
        ("mart-cifar10-resnet18", (74, 89, 99)),
        ("ascl-cifar10-resnet18", (100, 105, 110)),
        ("rsupcon-cifar10-resnet18", (100, 150)),
    ],
)
def test_the_rate_drops_after_the_epochs_of_the_public_code(name: str, drops: tuple[int, ...]) -> None:
    optimiser = read_recipe(find_recipe(name)).optimiser
    assert [share * optimiser.epochs for share in optimiser.milestones] == pytest.approx(drops, abs=0.05)
    assert (optimiser.schedule, optimiser.decay) == ("step", 0.1)


def test_mart_takes_the_steps_of_its_script() -> None:
    attack = read_recipe(find_recipe("mart-cifar10-resnet18")).attack
    assert (attack.step_size, attack.steps, attack.start) == (0.007, 10, "near")


def test_a_recipe_survives_json() -> None:
    recipe = read_recipe(find_recipe("clead-cifar10-compact"))
    assert recipe_from(recipe.model_dump(mode="json"), origin="json") == recipe
