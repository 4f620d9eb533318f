from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from export.manifest import InputSpec
from training.data.images import LabelledImages
from training.data.sources import open_images
from training.evaluation.evaluate import ATTACKS, EvaluationError, EvaluationRequest, evaluate
from training.evaluation.figures import Evaluation, Gate


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
        ({"eps": math.inf}, "must be greater than 0"),
        ({"eps": 8.0}, "beyond any image; did you mean 8/255"),
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
        _evaluate(Colour(), images, attacks=ATTACKS)


def test_what_was_not_asked_for_is_what_the_data_allows(
    images: LabelledImages, capsys: pytest.CaptureFixture[str]
) -> None:
    module = Colour()
    module.weight = nn.Parameter(module.weight[:3].detach())
    images = _relabelled(images, module)
    images.classes = ("a", "b", "c")
    evaluation = _evaluate(module, images, n=None)
    assert evaluation.n == 100
    assert [figure.name for figure in evaluation.figures] == ["clean", "noise", "fgsm", "pgd-50-10"]
    assert "autoattack is left out" in capsys.readouterr().err
    missing = {gate.name for gate in evaluation.gates if gate.passed is None}
    assert missing == {"black_box_adds_nothing", "autoattack_agrees", "autoattack_flags", "robust_enough"}
    assert not evaluation.robust


def test_of_many_images_a_thousand_are_measured(images: LabelledImages) -> None:
    chosen = torch.arange(1200) % 100
    many = LabelledImages(
        images.pixels(chosen).numpy(),
        images.labels[chosen].numpy(),
        images.classes,
        lambda image: np.asarray(image),
        32,
    )
    assert _evaluate(Colour(), many, n=None, attacks=()).n == 1000


class Greedy(Colour):
    """The same, but it wants more memory than there is."""

    def forward(self, images: Tensor) -> Tensor:
        torch.empty(2**60)
        return super().forward(images)


def test_an_evaluation_without_memory_names_the_batch_size(images: LabelledImages) -> None:
    with pytest.raises(EvaluationError, match=r"out of memory: lower --batch-size \(250\) or --n \(60\)"):
        _evaluate(Greedy(), images)


class Watching(Colour):
    """The same, and it notes torch's settings."""

    def forward(self, images: Tensor) -> Tensor:
        cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
        self.seen = cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32
        return super().forward(images)


def test_settings_of_cuda_are_put_back(images: LabelledImages, monkeypatch: pytest.MonkeyPatch) -> None:
    cudnn, matmul, module = torch.backends.cudnn, torch.backends.cuda.matmul, Watching()
    monkeypatch.setattr(cudnn, "benchmark", True)
    before = cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32
    _evaluate(module, images, n=10, attacks=())
    assert module.seen == (True, False, False, False)
    assert (cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32) == before


def test_the_same_seed_measures_the_same(images: LabelledImages) -> None:
    first = _evaluate(Colour(), images, attacks=("noise", "pgd-50-10"), n=30, seed=5)
    second = _evaluate(Colour(), images, attacks=("noise", "pgd-50-10"), n=30, seed=5)
    assert [figure.accuracy for figure in first.figures] == [figure.accuracy for figure in second.figures]
    assert first.gates == second.gates
