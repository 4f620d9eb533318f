"""The model card says what the manifest says."""

from __future__ import annotations

from export.bundle import Check, Metric
from export.card import model_card
from tests.export.linear_bundle import linear_description


def test_without_figures_it_says_so() -> None:
    card = model_card(linear_description().model_copy(update={"metrics": ()}))
    assert "No figure has been measured for this version." in card
    assert "%" not in card


def test_figures_threat_and_command() -> None:
    metrics = (
        Metric(name="clean", accuracy=0.8125, n=1000),
        Metric(name="autoattack", accuracy=0.4567, n=1000, norm="linf", eps=8 / 255),
        Metric(name="own-attack", accuracy=0.5, n=500, norm="l2", eps=0.51),
    )
    description = linear_description().model_copy(
        update={"metrics": metrics, "evaluation_command": "clead evaluate linear --data-dir DIR"}
    )
    card = model_card(description)
    assert card.startswith("# linear, version 1\n")
    assert "| Unchanged images | - | - | 81.2% | 1000 |" in card
    assert "| AutoAttack | linf | 8/255 | 45.7% | 1000 |" in card
    assert "| own-attack | l2 | 0.51 | 50.0% | 500 |" in card
    assert "l-infinity eps 8/255" in card
    assert "    clead evaluate linear --data-dir DIR" in card
    assert "upper bound" in card
    assert "Checks" not in card


def test_a_model_trained_without_perturbations_claims_no_threat() -> None:
    card = model_card(linear_description().model_copy(update={"threat": None, "metrics": ()}))
    assert "without perturbations." in card.split("## Measured accuracy")[0]
    assert "None: it was trained without perturbations" in card
    assert "8/255" not in card


def test_checks_and_what_follows_from_them() -> None:
    passed = Check(name="converged", passed=True, detail="twice the steps break 0.1% more")
    failed = Check(name="large_eps_breaks", passed=False, detail="accuracy 30% at eps 0.5")

    sound = model_card(linear_description().model_copy(update={"checks": (passed,)}))
    unsound = model_card(linear_description().model_copy(update={"checks": (passed, failed)}))

    assert "Every check passed." in sound
    assert "| converged | passed | twice the steps break 0.1% more |" in sound
    assert "**Not established to be robust** (failed: large_eps_breaks)." in unsound
    assert "| large_eps_breaks | failed | accuracy 30% at eps 0.5 |" in unsound


def test_long_class_lists_are_cut() -> None:
    description = linear_description().model_copy(update={"classes": tuple(f"class-{i}" for i in range(100))})
    card = model_card(description)
    assert "100 classes" in card
    assert "class-19, ..." in card
    assert "class-20" not in card
