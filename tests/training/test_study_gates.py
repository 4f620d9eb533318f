"""The study's page says which masked models the tests catch with which gate, and what was published."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.methods.arms import read_study
from benchmarks.methods.baselines import STANDARD_TRAINING
from benchmarks.methods.gates import MASKED, SIZE
from benchmarks.methods.literature import read_literature
from tests.training import test_evaluation_masked as masked

ALONE: dict[tuple[str, str], Callable[..., None]] = {
    (
        "black_box_adds_nothing",
        "quantised input",
    ): masked.test_square_breaks_what_autoattack_s_gradients_leave,
    ("square_alone_is_weaker", "quantised input"): masked.test_queries_find_what_gradients_miss,
    ("hard_label_is_weaker", "quantised input"): masked.test_queries_find_what_gradients_miss,
    ("transfer_is_weaker", "quantised input"): masked.test_images_made_on_another_model_break_a_masked_one,
    ("control_breaks", "quantised input"): masked.test_an_attack_has_to_break_an_undefended_control,
    ("autoattack_agrees", "saturated logits"): (
        masked.test_autoattack_s_own_loss_sees_through_saturated_logits
    ),
    ("autoattack_flags", "quantised input"): masked.test_square_breaks_what_autoattack_s_gradients_leave,
    ("autoattack_flags", "probabilities"): masked.test_probabilities_are_flagged_by_the_library_too,
}
"""What tests of their own see caught."""
MODELS = {"quantised input": "Quantised()", "saturated logits": "scale=1e6", "probabilities": "Softmax"}


def _of_the_table() -> set[tuple[str, str]]:
    (cases,) = (mark.args[1] for mark in masked.test_a_masked_model_is_caught.pytestmark)  # type: ignore[attr-defined]
    return {(gate, case.id) for case in cases for gate in case.values[2]}


def test_the_page_names_every_masked_model_that_is_caught_and_no_other() -> None:
    assert {(gate, model) for gate, models in MASKED.items() for model in models} == _of_the_table() | set(
        ALONE
    )


@pytest.mark.parametrize(("gate", "model"), ALONE)
def test_a_test_of_its_own_is_about_this_gate_and_model(gate: str, model: str) -> None:
    test = ALONE[gate, model]
    # Parameters stand in the decorator, which belongs to the source.
    source = inspect.getsource(test)
    assert f'"{gate}"' in source and MODELS[model] in source


def test_the_page_lists_every_gate_in_the_order_of_the_documentation() -> None:
    page = (Path(__file__).parents[2] / "docs" / "training.md").read_text(encoding="utf-8")
    rows = page.partition("### Gates")[2].splitlines()
    documented = [row.split("`")[1] for row in rows if row.startswith("| `")]
    assert list(MASKED) == documented
    assert set(SIZE) <= set(MASKED)


def test_published_figures_are_of_arms_and_figures_of_the_study() -> None:
    published = read_literature().published
    assert {one.arm for one in published} <= {run.arm for run in read_study(Path("runs")).runs}
    assert {one.figure for one in published} == {"clean", "pgd-50-10", "autoattack", "3-step transfer"}
    for one in published:
        assert one.accuracy is not None or one.gain is not None
        assert one.source and (one.gain is None or one.reason)


def test_a_reason_that_speaks_of_epochs_is_that_of_the_study() -> None:
    epochs = {run.arm: run.recipe.optimiser.epochs for run in read_study(Path("runs")).runs}
    reasons = {one.arm: one.reason for one in read_literature().published if one.reason}
    fewer = {arm for arm, reason in reasons.items() if "fewer" in reason}
    fewest = {arm for arm, reason in reasons.items() if "as few epochs as any arm" in reason}
    assert fewer and [arm for arm in fewer if epochs[arm] >= epochs[STANDARD_TRAINING]] == []
    assert fewest and {epochs[arm] for arm in fewest} == {min(epochs.values())}
