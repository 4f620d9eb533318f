"""docs/methods.md: what the study did and found, from its results alone."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.machine import described
from benchmarks.markdown_table import markdown_table
from benchmarks.methods.arms import SURROGATE, Study, read_study
from benchmarks.methods.costs import costs
from benchmarks.methods.findings import findings
from benchmarks.methods.gates import caught
from benchmarks.methods.literature import below_expectation
from benchmarks.methods.measured import Arm, read_results, stale_results
from benchmarks.methods.plots import draw_arms
from benchmarks.methods.selection import kept_by_selection
from benchmarks.methods.step_cost import FOLDER as COST
from training.evaluation.figures import wilson
from training.evaluation.seeds import MINIMUM_SEEDS, Spread

_FIGURES = ("clean", "fgsm", "pgd-50-10", "autoattack", "worst-case", "transfer")
_HEADINGS = ("clean", "FGSM", "PGD-50-10", "AutoAttack", "worst case", "transfer")


def write_page(results: Path, docs: Path) -> None:
    """Write `methods.md`, and `methods.png` beside it, into `docs`."""
    study = read_study(Path("runs"))
    order = list(dict.fromkeys(run.arm for run in study.runs))
    arms, stale = read_results(results, study.runs), stale_results(results, study.runs)
    compared = [arm for arm in arms if arm.compared]
    others = [name for name in order if name not in {arm.name for arm in compared}]
    named = {arm.name: arm for arm in compared}
    sections = ["# The methods side by side", _INTRODUCTION, "## What was done", _set_up(study, arms)]
    if compared:
        draw_arms(compared, docs / "methods.png")
        sections += ["## Accuracy", _accuracy(compared), _EPOCHS, "![Accuracy of every run](methods.png)"]
        sections += ["## What it shows", findings(named)]
    if selection := kept_by_selection(arms):
        sections += ["## What ASCL selects", selection]
    if compared:
        sections += ["## Below what was to be expected", below_expectation(named)]
    if arms:
        sections += ["## Checks", caught(arms), "## Cost", costs(arms, results / COST)]
    if others:
        sections += ["## Not compared", _others(others, arms)]
    if stale:
        sections += ["## Stale", _STALE + ", ".join(stale)]
    (docs / "methods.md").write_text("\n\n".join(sections) + "\n", encoding="utf-8")


_INTRODUCTION = """\
Every objective of `training/objectives/`, at nearly equal compute, on CIFAR-10. This page is written by

```sh
.venv/test/bin/python -m benchmarks.methods --data-dir DIR
```

from the files in `benchmarks/methods/results/`, which the same command makes. These are small networks,
trained briefly on a part of the data: the figures say which method gets further on little compute, not
what each reaches at full length (there is a recipe for that in `training/recipes/`)."""

_SET_UP = """\
Network: {network}. {train:,} training images, {holdout} held out to choose the checkpoint: of each run the
epoch is [measured](#accuracy) that does best on these under PGD-{selection} (of `{clean}`: unperturbed).

SGD with batches of {batch_size}, learning rate {learning_rate:g} at its highest ({schedule}, warm-up over
{warmup:.0%}), momentum {momentum:g}, weight decay {weight_decay:g}. PGD in training takes {steps} steps
of {step}: fewer and longer ones than is usual at full length (10 of 2/255). `benchmarks/methods/study.toml`
holds all of it, and what single arms change.

The budget is {passes:g} forward-and-backward passes for each training image, those of attacks included, so
an objective that needs more of them gets fewer epochs. Whole epochs are trained, the number that comes
nearest: the runs spend from {least:.1f} ({least_arms}) to {most:.1f} ({most_arms}) passes, each as
[below](#cost). The epochs of a linear head count as forward passes. What is made once (the adversarial
images of `clead-static`, and the cleanly trained network that it and `clead-from-clean` start from, whose
own training spends {surrogate:.1f}) is not counted.

Threat: l-inf, eps 8/255. Measured on {n} test images, the same for all. *Transfer* is PGD-50 on the
`standard` run of the same seed. Figures are mean ± standard deviation over the seeds, which says nothing of
other test images: those alone make one figure uncertain by up to {sampling:.0f} points (95%).

Runs were made on: {machines}."""

_EPOCHS = """\
*Epochs measured*: of each seed, those of a linear head counted on. Where an early one was measured, training
on did not help against PGD on the held-out images, and a spread over the seeds may be one of epochs."""

_STALE = """\
These runs were made with another recipe than the study has now. They are in no figure of this page, and the
command above makes them again: """


def _set_up(study: Study, arms: Sequence[Arm]) -> str:
    if not arms:
        return "No run has been made yet."
    first = arms[0].results[0]
    recipe, evaluation = first.recipe, first.evaluation
    data, network, optimiser = recipe["data"], recipe["network"], recipe["optimiser"]
    spent = {run.arm: run.spent for run in study.runs}
    least, most = min(spent.values()), max(spent.values())
    return _SET_UP.format(
        network=f"{network['name']} {network['options']}",
        train=data["limit"] - data["holdout"],
        holdout=data["holdout"],
        clean=SURROGATE,
        selection=recipe["selection"]["steps"],
        batch_size=optimiser["batch_size"],
        learning_rate=optimiser["learning_rate"],
        schedule=optimiser["schedule"].replace("_", "-"),
        warmup=optimiser["warmup"],
        momentum=optimiser["momentum"],
        weight_decay=optimiser["weight_decay"],
        steps=recipe["attack"]["steps"],
        step=f"{255 * recipe['attack']['step_size']:.0f}/255",
        passes=study.passes,
        least=least,
        least_arms=_named(spent, least),
        most=most,
        most_arms=_named(spent, most),
        surrogate=spent[SURROGATE],
        n=evaluation.n,
        machines=_machines(arms),
        sampling=100 * (wilson(0.5, evaluation.n)[1] - 0.5),
    )


def _machines(arms: Sequence[Arm]) -> str:
    runs = Counter(described(result.provenance) for arm in arms for result in arm.results)
    return "; ".join(f"{machine} ({count})" for machine, count in runs.items())


def _named(spent: Mapping[str, float], passes: float) -> str:
    return ", ".join(arm for arm, value in spent.items() if math.isclose(value, passes))


def _accuracy(arms: Sequence[Arm]) -> str:
    return markdown_table(("arm", *_HEADINGS, "3-step transfer", "epochs measured"), map(_line, arms))


def _line(arm: Arm) -> tuple[str, ...]:
    weak = arm.three_step_transfer()
    measured = ", ".join(str(result.best_epoch) for result in arm.results)
    return (
        arm.name,
        *(_spread(arm.spread(name)) for name in _FIGURES),
        "-" if weak is None else f"{weak[0]:.1%} ± {100 * weak[1]:.1f}",
        f"{measured} of {len(arm.results[0].history)}",
    )


def _spread(figure: Spread | None) -> str:
    return "-" if figure is None else f"{figure.mean:.1%} ± {100 * figure.deviation:.1f}"


def _others(names: Sequence[str], arms: Sequence[Arm]) -> str:
    made = {arm.name: len(arm.results) for arm in arms}
    listed = ", ".join(f"{name} ({made.get(name, 0)})" for name in names)
    return f"These have fewer than {MINIMUM_SEEDS} seeds so far (their number in brackets): {listed}."
