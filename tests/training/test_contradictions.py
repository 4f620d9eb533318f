"""A recipe that says two things at once is refused, with the names of the fields."""

from __future__ import annotations

from pathlib import Path

import pytest

from training.recipe import read_recipe, recipe_from
from training.section import RecipeError

STATIC = '[objective]\nname = "clead_static"\nsurrogate = "x"\n[head]\nepochs = 1\n'
SIMULTANEOUS = '[objective]\nname = "clead_simultaneous"\n'
L2 = '[attack]\nnorm = "l2"\neps = 0.5\nstep_size = 0.1\n'
PGD = '[attack]\nname = "pgd"\nsteps = 3\nstep_size = "2/255"\n'


def _write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "recipe.toml"
    path.write_text(f'name = "x"\n{text}', encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '[attack]\nnorm = "l2"\n',
            "attack.norm = 'l2' needs its own attack.eps: 0.03137 is meant for 'linf'",
        ),
        ('[attack]\nnorm = "l2"\neps = 0.5\n', "attack.norm = 'l2' needs its own attack.step_size"),
        ("[attack]\neps = 0\n", "attack.eps: .*greater than 0"),
        ("[attack]\nstep_size = 0\n", "attack.step_size: .*greater than 0"),
        (STATIC + '[attack]\neps = "4/255"\n', r"clead_static.*eps 8/255 always.*attack.eps \(0.01569\)"),
        (STATIC + '[attack]\nnorm = "l2"\neps = "8/255"\n', r"clead_static.*leave out attack.norm \('l2'\)"),
        (STATIC + "[attack]\nsteps = 3\n", "attack.steps has no effect with objective.name = 'clead_static'"),
        (
            '[objective]\nname = "standard"\n' + PGD,
            "attack.name has no effect with objective.name = 'standard'",
        ),
        (
            SIMULTANEOUS + '[attack]\nsteps = 3\nstart = "near"\n',
            "attack.start has no effect with objective.name = 'clead_simultaneous'.*; attack.steps has no",
        ),
        ('[attack]\nname = "fgsm"\nsteps = 3\n', "attack.steps has no effect with attack.name = 'fgsm'"),
        ('[attack]\nname = "fgsm"\nstart = "near"\n', "attack.start has no effect with attack.name = 'fgsm'"),
        ('[attack]\nname = "pgd"\nnoise = 2.0\n', "attack.noise has no effect with attack.name = 'pgd'"),
        ('[attack]\nname = "mix"\nmix = ["fgsm", "fgsm_rs"]\nsteps = 3\n', "attack.steps has no effect with"),
        ('[attack]\nname = "mix"\nmix = ["pgd", "pgd"]\n', "attack: .*mix names an attack twice: pgd, pgd"),
        (
            "[optimiser]\nmilestones = [0.5]\ndecay = 0.2\n",
            "optimiser.decay has no effect with optimiser.schedule = 'one_cycle'.*optimiser.milestones",
        ),
        (
            STATIC + 'schedule = "cosine"\ndecay = 0.2\n',
            "head.decay has no effect with head.schedule = 'cosine'",
        ),
        (
            "[optimiser]\nweight_perturbation_from = 0.2\n",
            "optimiser.weight_perturbation_from has no effect with optimiser.weight_perturbation = 0",
        ),
        (
            "[optimiser]\nmomentum = 0\nnesterov = true\n",
            "optimiser.nesterov has no effect with optimiser.momentum = 0",
        ),
        (
            '[optimiser]\nschedule = "step"\nwarmup = 0.9\nmilestones = [0.95, 0.3, 0.2]\n',
            "optimiser.milestones has 0.3, 0.2, before .*optimiser.warmup = 0.9.* to 0.2 at most, or give",
        ),
        # Milestones or a warm-up that nobody wrote do the same.
        ('[optimiser]\nschedule = "step"\nwarmup = 0.6\n', "optimiser.milestones has 0.5, before"),
        ('[optimiser]\nschedule = "step"\nmilestones = [0.1]\n', "has 0.1, before .*warmup = 0.2"),
        (STATIC + "warmup = 0.8\n", "head.milestones has 0.5, 0.75, before .*head.warmup = 0.8"),
        ('[objective]\nname = "clead"\nweight = 0\nclimb = "contrast"\n', "objective.*weight must not be 0"),
        ('[objective]\nname = "clead"\nweight = 0\nclimb = "sum"\n', "objective.*weight must not be 0"),
        (
            '[objective]\nname = "clead"\nweight = 0\ntemperature = 0.2\nprojection = 8\n',
            "objective.projection has no effect with objective.weight = 0; .*objective.temperature has no",
        ),
        (
            SIMULTANEOUS + 'weight = 0\npositives = "label"\n',
            "objective.positives has no effect with objective.weight = 0",
        ),
        (
            '[objective]\nname = "ascl"\ncontrast_weight = 0\nselection = "global"\ndistance = "l1"\n',
            "objective.distance has no .* with objective.contrast_weight = 0; .*objective.selection has no",
        ),
        (
            STATIC.replace("[head]", 'attacks = ["fgsm", "fgsm"]\n[head]'),
            "objective.*: .*attacks names one twice: fgsm, fgsm",
        ),
        (
            "[data]\nlimit = 400\nholdout = 201\n",
            "data: .*holdout = 201 .* limit = 400 images; lower .* to 200",
        ),
    ],
)
def test_a_contradiction_is_refused_by_field(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        read_recipe(_write(tmp_path, text))


@pytest.mark.parametrize(
    "text",
    [
        L2,
        '[attack]\nname = "fgsm"\nnorm = "l2"\neps = 0.5\n',
        '[attack]\nname = "mix"\nmix = ["fgsm", "pgd"]\nsteps = 3\nstart = "near"\n',
        '[attack]\nname = "noise_fgsm"\nnoise = 1.0\n',
        SIMULTANEOUS + '[attack]\nstep_size = "8/255"\neps = "8/255"\n',
        # The encoder takes none of it, its head does.
        f'{STATIC}objective = {{ name = "pgd_at" }}\n{PGD}',
        STATIC + 'milestones = [0.5]\n[attack]\nnorm = "linf"\neps = "8/255"\n',
        "[optimiser]\nweight_perturbation = 0.1\nweight_perturbation_from = 0.2\n",
        '[optimiser]\nschedule = "step"\nwarmup = 0.2\nmilestones = [0.2, 0.5]\n',
        "[optimiser]\nwarmup = 0.9\n",
        '[objective]\nname = "clead"\nweight = 0\n',
        '[objective]\nname = "ascl"\ncontrast_weight = 0\ncrops = 1\n',
        # What is measured.
        '[objective]\nname = "standard"\n[attack]\neps = "4/255"\n',
        "[data]\nlimit = 400\nholdout = 200\n",
    ],
)
def test_what_has_an_effect_is_accepted(tmp_path: Path, text: str) -> None:
    read_recipe(_write(tmp_path, text))


def test_an_override_may_leave_fields_of_the_file_without_effect(tmp_path: Path) -> None:
    path = _write(tmp_path, PGD + '[optimiser]\nschedule = "step"\nmilestones = [0.5]\n')
    read_recipe(path, ["attack.name=noise_fgsm", "attack.noise=1.0", "optimiser.schedule=cosine"])
    read_recipe(path, ['objective={name="standard"}'])
    with pytest.raises(RecipeError, match=r"attack.steps has no effect with attack.name = 'noise_fgsm'"):
        read_recipe(path, ["attack.name=noise_fgsm", "attack.steps=2"])
    with pytest.raises(RecipeError, match=r"attack.steps has no effect"):
        read_recipe(path, ['attack={name="noise_fgsm",steps=2}'])
    contrast = _write(tmp_path, '[objective]\nname = "clead"\ntemperature = 0.2\n')
    read_recipe(contrast, ["objective.weight=0"])


def test_an_override_that_puts_a_milestone_into_the_warm_up_is_refused(tmp_path: Path) -> None:
    path = _write(tmp_path, '[optimiser]\nschedule = "step"\nwarmup = 0.1\nmilestones = [0.5]\n')
    with pytest.raises(RecipeError, match=r"optimiser\.milestones has 0\.5, before the end of the warm-up"):
        read_recipe(path, ["optimiser.warmup=0.7"])
    read_recipe(path, ["optimiser.warmup=0.7", "optimiser.schedule=cosine"])


def test_an_override_of_the_norm_needs_sizes_of_its_own(tmp_path: Path) -> None:
    linf = _write(tmp_path, PGD + 'eps = "8/255"\n')
    with pytest.raises(
        RecipeError, match=r"attack.norm = 'l2' needs its own attack.eps: .*; .*attack.step_size"
    ):
        read_recipe(linf, ["attack.norm=l2"])
    with pytest.raises(RecipeError, match=r"needs its own attack.step_size: 0.00784.* is meant for 'linf'"):
        read_recipe(linf, ["attack.eps=0.5", "attack.norm=l2"])
    with pytest.raises(RecipeError, match=r"needs its own attack.eps: 0.0313.* is meant for 'linf'"):
        read_recipe(linf, ['attack={norm="l2",step_size=0.1}'])
    recipe = read_recipe(linf, ["attack.eps=0.5", "attack.norm=l2", "attack.step_size=0.1"])
    assert (recipe.attack.norm, recipe.attack.eps) == ("l2", 0.5)
    l2 = _write(tmp_path, L2)
    with pytest.raises(
        RecipeError, match=r"attack.norm = 'linf' needs its own attack.eps: 0.5 is meant for 'l2'"
    ):
        read_recipe(l2, ["attack.norm=linf"])
    assert read_recipe(l2, ['attack={norm="linf"}']).attack.eps == 8 / 255


def test_a_checkpoint_s_recipe_has_every_field_written_out(tmp_path: Path) -> None:
    recipe = read_recipe(_write(tmp_path, STATIC))
    assert recipe_from(recipe.model_dump(mode="json"), origin="checkpoint") == recipe
