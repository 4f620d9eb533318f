from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from export.manifest import InputSpec
from tests.training.colour_models import Colour, Tripwire, accuracy, measure, relabelled
from training.data.images import LabelledImages
from training.data.sources import open_images
from training.evaluation.request import ATTACKS, DEFAULT_ATTACKS, EvaluationError


@pytest.fixture
def images(data_dir: Path) -> LabelledImages:
    return open_images(data_dir, "test", dataset="cifar10", spec=InputSpec(height=32, width=32, resize=32))


def test_a_linear_model_s_robust_accuracy_is_the_closed_form(images: LabelledImages) -> None:
    module, eps = Colour(), 5 / 255
    images = relabelled(images, module).spread(20)
    evaluation = measure(module, images, n=20, eps=eps)
    with torch.no_grad():
        pixels, labels = images.batch(torch.arange(20), torch.device("cpu"))
        logits, weight = module(pixels), module.weight
        # eps moves the margin to class k by at most eps * ||w_y - w_k||_1; the box can only shorten that.
        reach = eps * (weight[labels][:, None] - weight[None]).abs().sum(2)
        margin = logits.gather(1, labels[:, None]) - logits
        certain = ((margin > reach) | (torch.arange(10) == labels[:, None])).all(1).double().mean().item()
    assert accuracy(evaluation, "clean") == 1.0
    assert certain <= accuracy(evaluation, "autoattack") <= certain + 0.03
    # The cross-entropy has local maxima even here, so PGD alone may find less; nothing sound finds more.
    assert certain <= accuracy(evaluation, "autoattack") <= accuracy(evaluation, "pgd-50-10")
    assert accuracy(evaluation, "noise") >= accuracy(evaluation, "fgsm") >= accuracy(evaluation, "pgd-50-10")
    failed = [gate.name for gate in evaluation.gates if gate.passed is False]
    # 20 images do not carry a claim.
    assert failed == ["enough_images"]
    assert not evaluation.robust
    assert "not established to be robust (failed: enough_images" in evaluation.verdict
    stages = [stage.accuracy for stage in evaluation.stages]
    assert [stage.name for stage in evaluation.stages] == [
        "after apgd-ce",
        "after apgd-t",
        "after fab-t",
        "after square",
    ]
    assert stages == sorted(stages, reverse=True) and stages[-1] == accuracy(evaluation, "autoattack")


def test_a_model_that_loses_every_image_to_the_first_attack_is_measured(images: LabelledImages) -> None:
    module = Colour()
    evaluation = measure(
        module, relabelled(images, module).spread(10), n=10, eps=0.5, attacks=("autoattack",)
    )
    assert accuracy(evaluation, "clean") == 1.0
    assert [stage.accuracy for stage in evaluation.stages] == [0.0, 0.0, 0.0, 0.0]


def test_what_was_not_run_is_not_passed(images: LabelledImages) -> None:
    evaluation = measure(Colour(), images, n=10, attacks=())
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
        ({"attacks": ("transfer",)}, "transfer needs a second model .* --transfer-from"),
        ({"eps": 8.0}, "beyond any image; did you mean 8/255"),
        ({"attacks": ("rays",), "norm": "l2"}, "rays attacks in linf only, not in l2; accepted .*: noise, f"),
        ({"attacks": ("rays",), "norm": "l1"}, "rays attacks in linf only, not in l1; accepted .*: noise, f"),
    ],
)
def test_impossible_requests_are_refused(
    images: LabelledImages, options: dict[str, object], message: str
) -> None:
    with pytest.raises(EvaluationError, match=message):
        measure(Colour(), images, **options)


def test_autoattack_wants_four_classes(images: LabelledImages) -> None:
    images.classes = ("a", "b", "c")
    for attack in ("autoattack", "apgd-t"):
        with pytest.raises(EvaluationError, match=f"{attack}: .* need 4 classes, the data has 3"):
            measure(Colour(), images, attacks=("noise", attack))


def test_what_was_not_asked_for_is_what_the_data_allows(
    images: LabelledImages, capsys: pytest.CaptureFixture[str]
) -> None:
    module = Colour()
    module.weight = nn.Parameter(module.weight[:3].detach())
    images = relabelled(images, module)
    images.classes = ("a", "b", "c")
    evaluation = measure(module, images, n=None)
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
    assert measure(Colour(), many, n=None, attacks=()).n == 1000


class Greedy(Colour):
    """The same, but it wants more memory than there is."""

    def forward(self, images: Tensor) -> Tensor:
        torch.empty(2**60)
        return super().forward(images)


def test_an_evaluation_without_memory_names_the_batch_size(images: LabelledImages) -> None:
    with pytest.raises(EvaluationError, match=r"out of memory: lower --batch-size \(250\) or --n \(40\)"):
        measure(Greedy(), images)


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
    measure(module, images, n=10, attacks=())
    assert module.seen == (True, False, False, False)
    assert (cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32) == before


def test_the_same_seed_measures_the_same(images: LabelledImages) -> None:
    first = measure(Colour(), images, attacks=("noise", "pgd-50-10"), n=30, seed=5)
    second = measure(Colour(), images, attacks=("noise", "pgd-50-10"), n=30, seed=5)
    assert [figure.accuracy for figure in first.figures] == [figure.accuracy for figure in second.figures]
    assert first.gates == second.gates


def test_each_attack_by_name_is_a_figure_that_the_worst_case_bounds(images: LabelledImages) -> None:
    module = Colour()
    names = tuple(name for name in ATTACKS if name != "autoattack")
    options = {"attacks": names, "transfer_from": Colour(scale=30.0), "n": 8, "eps": 4 / 255}
    evaluation = measure(module, relabelled(images, module), **options)
    assert [figure.name for figure in evaluation.figures] == ["clean", *names]
    worst = evaluation.worst_case
    assert worst is not None and (worst.norm, worst.eps, worst.n) == ("linf", 4 / 255, 8)
    assert worst.accuracy <= min(figure.accuracy for figure in evaluation.figures)


def test_what_is_expensive_has_to_be_asked_for() -> None:
    assert DEFAULT_ATTACKS == ("noise", "fgsm", "pgd-50-10", "autoattack")


def test_the_worst_case_is_taken_image_by_image(images: LabelledImages) -> None:
    # Noise trips this model on some images, PGD (with other draws) on others.
    module = Tripwire(0.1)
    evaluation = measure(module, relabelled(images, module), attacks=("noise", "pgd-50-10"))
    assert evaluation.worst_case is not None
    assert evaluation.worst_case.accuracy < min(
        accuracy(evaluation, "noise"), accuracy(evaluation, "pgd-50-10")
    )


def test_without_attacks_there_is_no_worst_case(images: LabelledImages) -> None:
    evaluation = measure(Colour(), images, n=10, attacks=())
    assert evaluation.worst_case is None
    assert evaluation.to_dict()["worst_case"] is None


def test_what_a_check_breaks_counts_at_this_eps_and_not_beyond(images: LabelledImages) -> None:
    # Noise breaks nothing here; the checks break some images at 8/255, and all of them at 0.5.
    module = Colour()
    evaluation = measure(module, relabelled(images, module), attacks=("noise",))
    assert evaluation.worst_case is not None
    assert 0.0 < evaluation.worst_case.accuracy < 0.6 < accuracy(evaluation, "noise")
