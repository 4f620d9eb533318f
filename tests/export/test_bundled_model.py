"""The bundled model is small enough, worth shipping, and what the README says of it is what was measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from export.bundle import Bundle, load_bundle, resolve_bundle

REPOSITORY = Path(__file__).parents[2]
LARGEST = 10_000_000
STANDARD = "standard-cifar10"


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return load_bundle(resolve_bundle(REPOSITORY / "models", "clead-cifar10"))


def test_it_is_at_most_10_mb(bundle: Bundle) -> None:
    assert sum(file.stat().st_size for file in bundle.path.iterdir()) <= LARGEST


def test_its_accuracy_under_autoattack_is_worth_shipping(bundle: Bundle) -> None:
    auto = next(metric for metric in bundle.manifest.metrics if metric.name == "autoattack")
    assert auto.n >= 1000
    assert auto.accuracy >= 0.25


def test_every_check_of_its_figures_passed(bundle: Bundle) -> None:
    assert bundle.manifest.checks
    assert [check.name for check in bundle.manifest.checks if check.passed is not True] == []


def test_the_other_one_is_the_same_network_without_perturbations_and_says_so(bundle: Bundle) -> None:
    other = load_bundle(resolve_bundle(REPOSITORY / "models", STANDARD))
    assert (other.manifest.architecture, other.manifest.input) == (
        bundle.manifest.architecture,
        bundle.manifest.input,
    )
    assert other.manifest.threat is None
    failed = {check.name for check in other.manifest.checks if check.passed is not True}
    assert failed == {"better_than_constant", "robust_enough"}
    assert "without perturbations" in (other.path / "MODEL_CARD.md").read_text(encoding="utf-8")


def test_the_readme_states_each_measured_figure(bundle: Bundle) -> None:
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    rows = [line for line in readme.splitlines() if line.startswith("|") and "%" in line]
    for column, model in ((2, bundle), (3, load_bundle(resolve_bundle(REPOSITORY / "models", STANDARD)))):
        stated = [row.split("|")[column].strip() for row in rows]
        assert stated == [f"{metric.accuracy:.1%}" for metric in model.manifest.metrics]
    assert bundle.manifest.evaluation_command in readme.replace(" \\\n    ", " ")


def test_the_card_states_each_measured_figure_and_the_command(bundle: Bundle) -> None:
    card = (bundle.path / "MODEL_CARD.md").read_text(encoding="utf-8")
    for metric in bundle.manifest.metrics:
        assert f"{metric.accuracy:.1%}" in card
    assert bundle.manifest.evaluation_command in card
