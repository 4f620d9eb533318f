from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from export.manifest import InputSpec
from training.data.images import LabelledImages
from training.data.sources import open_images
from training.evaluation.autoattack import AutoAttackOutcome
from training.evaluation.evaluate import EvaluationError, EvaluationRequest, evaluate
from training.evaluation.figures import Evaluation, Figure, Gate, wilson
from training.evaluation.gates import Measured, judge
from training.evaluation.trace import LossTrace


class Colour(nn.Module):
    """A linear classifier with ten classes over the image's mean colour."""

    def __init__(self, scale: float = 20.0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(2)
        self.weight = nn.Parameter(torch.randn(10, 3, generator=generator) * scale)

    def forward(self, images: Tensor) -> Tensor:
        return (images.mean(dim=(2, 3)) - 0.5) @ self.weight.T


class Quantised(Colour):
    """The same behind a step function: its gradient is zero, its robustness is not."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward((images * 15.0).round() / 15.0)


class Noisy(Colour):
    """The same with random logits."""

    def forward(self, images: Tensor) -> Tensor:
        logits = super().forward(images)
        return logits + 0.1 * torch.randn_like(logits)


@pytest.fixture
def images(data_dir: Path) -> LabelledImages:
    return open_images(data_dir, "test", dataset="cifar10", spec=InputSpec(height=32, width=32, resize=32))


def _relabelled(images: LabelledImages, module: nn.Module) -> LabelledImages:
    """The images, labelled as the module sees them, so that its clean accuracy is 1."""
    with torch.no_grad():
        images.labels = module(images.batch(torch.arange(100), torch.device("cpu"))[0]).argmax(1)
    return images


def _evaluate(module: nn.Module, images: LabelledImages, **options: object) -> Evaluation:
    request = EvaluationRequest(norm="linf", **{"eps": 8 / 255, "n": 60, **options})  # type: ignore[arg-type]
    return evaluate(
        module,
        images,
        request,
        subject="test",
        dataset="cifar10",
        weights_sha256="0" * 64,
        device=torch.device("cpu"),
    )


def _gate(evaluation: Evaluation, name: str) -> Gate:
    return next(gate for gate in evaluation.gates if gate.name == name)


def _accuracy(evaluation: Evaluation, name: str) -> float:
    return next(figure.accuracy for figure in evaluation.figures if figure.name == name)


def test_a_linear_model_s_robust_accuracy_is_the_closed_form(images: LabelledImages) -> None:
    module, eps = Colour(), 8 / 255
    images = _relabelled(images, module).spread(40)
    evaluation = _evaluate(module, images, n=40, eps=eps)
    with torch.no_grad():
        pixels, labels = images.batch(torch.arange(40), torch.device("cpu"))
        logits, weight = module(pixels), module.weight
        # eps moves the margin to class k by at most eps * ||w_y - w_k||_1; the box can only shorten that.
        reach = eps * (weight[labels][:, None] - weight[None]).abs().sum(2)
        margin = logits.gather(1, labels[:, None]) - logits
        certain = ((margin > reach) | (torch.arange(10) == labels[:, None])).all(1).double().mean().item()
    assert _accuracy(evaluation, "clean") == 1.0
    assert certain <= _accuracy(evaluation, "autoattack") <= certain + 0.03
    # The cross-entropy has local maxima even here, so PGD alone may find less; nothing sound finds more.
    assert certain <= _accuracy(evaluation, "autoattack") <= _accuracy(evaluation, "pgd-50-10")
    assert (
        _accuracy(evaluation, "noise") >= _accuracy(evaluation, "fgsm") >= _accuracy(evaluation, "pgd-50-10")
    )
    failed = [gate.name for gate in evaluation.gates if gate.passed is False]
    # 40 images do not carry a claim, and at 8/255 hardly any image of this model holds.
    assert set(failed) <= {"enough_images", "robust_enough"}
    assert not evaluation.robust
    assert "not established to be robust (failed: enough_images" in evaluation.verdict


def test_a_quantised_input_is_caught(images: LabelledImages) -> None:
    module = Quantised()
    evaluation = _evaluate(module, _relabelled(images, module), attacks=("noise", "fgsm", "pgd-50-10"))
    assert _gate(evaluation, "gradients_present").passed is False
    assert _gate(evaluation, "large_eps_breaks").passed is False
    assert not evaluation.robust


def test_saturated_logits_are_caught(images: LabelledImages) -> None:
    # At this scale even e^-margin, the size of the cross-entropy's gradient, is zero in float32.
    module = Colour(scale=1e6)
    evaluation = _evaluate(module, _relabelled(images, module), attacks=("noise", "fgsm", "pgd-50-10"))
    assert _gate(evaluation, "gradients_present").passed is False
    assert not evaluation.robust


def test_random_logits_are_caught(images: LabelledImages) -> None:
    module = Noisy()
    evaluation = _evaluate(module, images, attacks=("fgsm",))
    assert _gate(evaluation, "deterministic").passed is False


def test_probabilities_instead_of_logits_are_caught(images: LabelledImages) -> None:
    module = nn.Sequential(Colour(), nn.Softmax(dim=1))
    evaluation = _evaluate(module, _relabelled(images, module), n=20, attacks=("autoattack",))
    flags = _gate(evaluation, "autoattack_flags")
    assert flags.passed is False and "probability distribution" in flags.detail


def test_what_was_not_run_is_not_passed(images: LabelledImages) -> None:
    evaluation = _evaluate(Colour(), images, n=10, attacks=())
    missing = {gate.name for gate in evaluation.gates if gate.passed is None}
    assert {"autoattack_agrees", "robust_enough", "converged", "noise_is_weaker", "loss_rises"} <= missing
    assert "not measured" in evaluation.verdict


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attacks": ("cw",)}, "unknown attack 'cw'; accepted are: noise, fgsm"),
        ({"n": 101}, "n=101 is not between 1 and the 100"),
        ({"n": 0}, "n=0"),
        ({"eps": 0.0}, "must be greater than 0"),
    ],
)
def test_impossible_requests_are_refused(
    images: LabelledImages, options: dict[str, object], message: str
) -> None:
    with pytest.raises(EvaluationError, match=message):
        _evaluate(Colour(), images, **options)


def test_autoattack_wants_four_classes(images: LabelledImages) -> None:
    images.classes = ("a", "b", "c")
    with pytest.raises(EvaluationError, match="need 4 classes, the data has 3"):
        _evaluate(Colour(), images)


def test_the_same_seed_measures_the_same(images: LabelledImages) -> None:
    first = _evaluate(Colour(), images, attacks=("noise", "pgd-50-10"), n=30, seed=5)
    second = _evaluate(Colour(), images, attacks=("noise", "pgd-50-10"), n=30, seed=5)
    assert [figure.accuracy for figure in first.figures] == [figure.accuracy for figure in second.figures]
    assert first.gates == second.gates


def _flags(count: int, n: int = 1000) -> Tensor:
    return torch.arange(n) < count


def _sound(**changes: object) -> Measured:
    trace = LossTrace()
    trace.rises, trace.steps = 49, 50
    stages = {"apgd-ce": _flags(350), "apgd-t": _flags(310), "fab-t": _flags(310), "square": _flags(310)}
    values: dict[str, object] = {
        "clean": _flags(600),
        "noise": _flags(595),
        "fgsm": _flags(400),
        "pgd": _flags(350),
        "longer": _flags(348),
        "auto": AutoAttackOutcome(stages=stages, warnings=()),
        "trace": trace,
        "by_eps": ((0.016, 0.48), (0.031, 0.35), (0.1, 0.05), (0.2, 0.0), (0.5, 0.0)),
        "repeat_difference": 0.0,
        "classes": 10,
    }
    return Measured(**{**values, **changes})  # type: ignore[arg-type]


def test_sound_figures_pass_every_gate() -> None:
    assert [gate.name for gate in judge(_sound()) if gate.passed is not True] == []


@pytest.mark.parametrize(
    ("gate", "changes"),
    [
        ("enough_images", {name: _flags(350, 999) for name in ("clean", "noise", "fgsm", "pgd", "longer")}),
        ("deterministic", {"repeat_difference": 1e-6}),
        ("noise_is_weaker", {"noise": _flags(340)}),
        ("iterative_beats_single_step", {"fgsm": _flags(349)}),
        ("converged", {"longer": _flags(344)}),
        ("monotone_in_eps", {"by_eps": ((0.016, 0.3), (0.031, 0.35), (0.1, 0.05), (0.2, 0.0), (0.5, 0.0))}),
        ("large_eps_breaks", {"by_eps": ((0.016, 0.5), (0.031, 0.35), (0.1, 0.11), (0.2, 0.0), (0.5, 0.0))}),
        ("large_eps_breaks", {"by_eps": ((0.016, 0.5), (0.031, 0.35), (0.1, 0.1), (0.2, 0.1), (0.5, 0.101))}),
        ("autoattack_agrees", {"pgd": _flags(391), "longer": _flags(391), "fgsm": _flags(400)}),
    ],
)
def test_each_gate_fails_on_what_it_is_for(gate: str, changes: dict[str, object]) -> None:
    assert [found.name for found in judge(_sound(**changes)) if found.passed is False] == [gate]


@pytest.mark.parametrize(
    ("gate", "stages", "warnings"),
    [
        ("black_box_adds_nothing", (350, 312, 312, 309), ()),
        ("autoattack_flags", (350, 310, 310, 310), ("it seems to be a randomized defense!",)),
        ("robust_enough", (350, 310, 310, 199), ()),
    ],
)
def test_each_gate_on_autoattack_fails(gate: str, stages: tuple[int, ...], warnings: tuple[str, ...]) -> None:
    names = ("apgd-ce", "apgd-t", "fab-t", "square")
    auto = AutoAttackOutcome(
        stages={name: _flags(count) for name, count in zip(names, stages, strict=True)}, warnings=warnings
    )
    assert gate in [found.name for found in judge(_sound(auto=auto)) if found.passed is False]


@pytest.mark.parametrize(
    ("gate", "change"), [("gradients_present", "zero_gradients"), ("loss_rises", "rises")]
)
def test_each_gate_on_the_trace_fails(gate: str, change: str) -> None:
    measured = _sound()
    assert measured.trace is not None
    setattr(measured.trace, change, {"zero_gradients": 7, "rises": 39}[change])
    assert [found.name for found in judge(measured) if found.passed is False] == [gate]


def test_wilson_against_published_values() -> None:
    # Newcombe 1998, table I, method 3: 81 of 263, and 0 of 20.
    assert wilson(81 / 263, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(0.0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)


def test_an_evaluation_is_json() -> None:
    figure = Figure(name="autoattack", accuracy=0.31, n=1000, norm="linf", eps=8 / 255, seconds=1.0)
    evaluation = Evaluation(
        subject="m/1",
        weights_sha256="0" * 64,
        dataset="cifar10",
        n=1000,
        seed=0,
        figures=(figure,),
        gates=judge(_sound()),
        libraries={},
    )
    content = json.loads(json.dumps(evaluation.to_dict()))
    assert content["robust"] is True
    assert content["verdict"].startswith(
        "robust accuracy 31.0% (28.2% to 33.9%) under AutoAttack, linf eps 0.0314"
    )
    assert content["figures"][0]["interval95"] == pytest.approx([0.2821, 0.3393], abs=1e-4)
