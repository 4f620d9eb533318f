"""Models that look robust and are not, each caught by evaluating it."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch import nn

from export.manifest import InputSpec
from tests.training.colour_models import (
    Colour,
    Constant,
    Detached,
    Half,
    Noisy,
    Quantised,
    Refuge,
    Reversed,
    Rippled,
    TrainingNorm,
    Tripwire,
    accuracy,
    gate,
    measure,
    relabelled,
)
from training.data.images import LabelledImages
from training.data.sources import open_images
from training.evaluation.request import AttackName

FAST = ("noise", "fgsm", "pgd-50-10")


@pytest.fixture
def images(data_dir: Path) -> LabelledImages:
    return open_images(data_dir, "test", dataset="cifar10", spec=InputSpec(height=32, width=32, resize=32))


def test_a_sound_model_fails_none_of_these_gates(images: LabelledImages) -> None:
    module = Colour()
    options = {
        "transfer_from": Colour(scale=10.0),
        "attacks": (*FAST, "apgd-t", "square", "rays"),
        "eps": 4 / 255,
        "n": 30,
    }
    evaluation = measure(module, relabelled(images, module), **options)
    assert [found.name for found in evaluation.gates if found.passed is False] == ["enough_images"]
    assert gate(evaluation, "square_alone_is_weaker").passed is True
    assert gate(evaluation, "hard_label_is_weaker").passed is True
    assert gate(evaluation, "transfer_is_weaker").passed is True


@pytest.mark.parametrize(
    ("module", "attacks", "gates"),
    [
        # At this scale even e^-margin, the size of the cross-entropy's gradient, is zero in float32.
        pytest.param(Colour(scale=1e6), FAST, {"gradients_present", "loss_rises"}, id="saturated logits"),
        pytest.param(Quantised(), FAST, {"gradients_present", "large_eps_breaks"}, id="quantised input"),
        pytest.param(Detached(), FAST, {"gradients_present", "large_eps_breaks"}, id="step outside autograd"),
        pytest.param(Reversed(), FAST, {"loss_rises", "large_eps_breaks"}, id="reversed gradient"),
        pytest.param(Rippled(near=-1.0), FAST, {"single_step_agrees"}, id="robust to FGSM alone"),
        pytest.param(Rippled(near=100.0), FAST, {"iterative_beats_single_step"}, id="PGD lost in ripples"),
        pytest.param(Tripwire(0.1), FAST, {"noise_is_weaker", "converged"}, id="detector of changes"),
        pytest.param(Refuge(), FAST, {"monotone_in_eps", "large_eps_breaks"}, id="detector of strong noise"),
        pytest.param(Constant(), FAST, {"better_than_constant", "large_eps_breaks"}, id="one answer"),
        pytest.param(Noisy(), (), {"deterministic"}, id="random logits"),
        pytest.param(TrainingNorm(), (), {"batch_independent"}, id="batch norm in train mode"),
        pytest.param(Half(), (), {"float32"}, id="bfloat16 within"),
        pytest.param(nn.Sequential(Colour(), nn.Softmax(dim=1)), (), {"logits"}, id="probabilities"),
    ],
)
def test_a_masked_model_is_caught(
    images: LabelledImages, module: nn.Module, attacks: tuple[str, ...], gates: set[str]
) -> None:
    evaluation = measure(module, relabelled(images, module.eval()), attacks=attacks)
    assert gates <= {found.name for found in evaluation.gates if found.passed is False}
    assert not evaluation.robust


def test_single_step_training_s_collapse_shows_in_its_own_gate_alone(images: LabelledImages) -> None:
    module = Rippled(near=-1.0)
    evaluation = measure(module, relabelled(images, module), attacks=FAST, eps=5 / 255)
    assert accuracy(evaluation, "fgsm") == 1.0
    failed = [found.name for found in evaluation.gates if found.passed is False]
    assert failed == ["enough_images", "single_step_agrees"]


@pytest.mark.parametrize(
    ("attack", "name"), [("square", "square_alone_is_weaker"), ("rays", "hard_label_is_weaker")]
)
def test_queries_find_what_gradients_miss(images: LabelledImages, attack: AttackName, name: str) -> None:
    module = Quantised()
    evaluation = measure(module, relabelled(images, module), attacks=("pgd-50-10", "apgd-t", attack), n=10)
    assert gate(evaluation, name).passed is False
    assert accuracy(evaluation, attack) < 0.5 < accuracy(evaluation, "pgd-50-10")
    assert evaluation.worst_case is not None
    assert evaluation.worst_case.accuracy <= accuracy(evaluation, attack)


def test_square_breaks_what_autoattack_s_gradients_leave(images: LabelledImages) -> None:
    module = Quantised()
    evaluation = measure(module, relabelled(images, module), attacks=("autoattack",), n=4)
    assert gate(evaluation, "black_box_adds_nothing").passed is False
    assert "zero gradient" in gate(evaluation, "autoattack_flags").detail


def test_autoattack_s_own_loss_sees_through_saturated_logits(images: LabelledImages) -> None:
    module = Colour(scale=1e6)
    evaluation = measure(module, relabelled(images, module), attacks=("pgd-50-10", "autoattack"), n=4)
    assert gate(evaluation, "autoattack_agrees").passed is False


def test_a_sound_model_that_attacks_break_is_not_robust_enough(images: LabelledImages) -> None:
    module = Colour()
    evaluation = measure(module, relabelled(images, module), attacks=("autoattack",), eps=48 / 255, n=20)
    assert gate(evaluation, "robust_enough").passed is False
    assert gate(evaluation, "gradients_present").passed is not False


def test_images_made_on_another_model_break_a_masked_one(images: LabelledImages) -> None:
    module = Quantised()
    options = {"attacks": ("pgd-50-10",), "transfer_from": Colour()}
    evaluation = measure(module, relabelled(images, module), **options)
    assert gate(evaluation, "transfer_is_weaker").passed is False
    assert accuracy(evaluation, "transfer") < 0.5 < accuracy(evaluation, "pgd-50-10")


@pytest.mark.parametrize(("control", "passed"), [(Colour(), True), (Quantised(), False)])
def test_an_attack_has_to_break_an_undefended_control(
    images: LabelledImages, control: nn.Module, passed: bool
) -> None:
    module = Colour()
    options = {"attacks": (), "control": control, "eps": 48 / 255, "n": 20}
    assert gate(measure(module, relabelled(images, module), **options), "control_breaks").passed is passed


def test_probabilities_are_flagged_by_the_library_too(images: LabelledImages) -> None:
    module = nn.Sequential(Colour(), nn.Softmax(dim=1))
    evaluation = measure(module, relabelled(images, module), n=5, attacks=("apgd-ce",))
    flags = gate(evaluation, "autoattack_flags")
    assert flags.passed is False and "probability distribution" in flags.detail


def test_being_wrong_on_the_other_model_is_not_enough_for_transfer(images: LabelledImages) -> None:
    # The other model gets most images wrong as they are, and has no gradient to change them by.
    module = Colour()
    options = {"attacks": ("transfer",), "transfer_from": Constant(), "n": 20}
    assert accuracy(measure(module, relabelled(images, module), **options), "transfer") > 0.9
