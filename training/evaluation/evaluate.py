"""The whole evaluation: figures, then the gates that decide whether they may be believed."""

from __future__ import annotations

from importlib.metadata import version

import torch
from torch import Tensor, nn

from training.cuda_settings import deterministic, full_precision
from training.data.images import LabelledImages
from training.data.split import generator
from training.evaluation.attacks import TestImages
from training.evaluation.figures import Evaluation
from training.evaluation.gates import judge
from training.evaluation.measure import Measurement
from training.evaluation.progress import Ledger
from training.evaluation.request import EvaluationError, EvaluationRequest, settle
from training.memory import out_of_memory_as

_LIBRARIES = ("torch", "torchvision", "pyautoattack")


def evaluate(
    module: nn.Module,
    images: LabelledImages,
    request: EvaluationRequest,
    *,
    subject: str,
    weights_sha256: str,
    dataset: str,
    device: torch.device,
    transfer_from: nn.Module | None = None,
    control: nn.Module | None = None,
) -> Evaluation:
    """Measure `module` (images in [0, 1] to logits) in float32 and eval mode, and judge the figures.

    Args:
        transfer_from: a second model of the same classes and image size; PGD on it makes the images of the
            attack `transfer`.
        control: one that was trained without defence; the same PGD has to break it.

    Raises:
        EvaluationError: if there are too few images or classes for what was asked for, an attack is unknown
            or not made in this norm, or the memory does not suffice.
    """
    ledger = Ledger(request.norm, request.eps)
    settled = settle(
        request, images=len(images), classes=len(images.classes), transfer=transfer_from is not None
    )
    if settled.left_out:
        ledger.say(settled.left_out)
    too_large = f"lower --batch-size ({request.batch_size}) or --n ({settled.n}) and evaluate again"
    with deterministic(), full_precision(), out_of_memory_as(EvaluationError, too_large):
        chosen = chosen_images(len(images), settled.n, seed=request.seed)
        pixels, labels = images.batch(chosen, torch.device("cpu"))
        test = TestImages(images=pixels, labels=labels, device=device, batch_size=request.batch_size)
        measurement = Measurement(_ready(module, device), test, request, ledger, classes=len(images.classes))
        surrogate = None if transfer_from is None else _ready(transfer_from, device)
        for name in settled.attacks:
            measurement.run(name, surrogate=surrogate)
        curve = measurement.curve() if request.curve else None
        evidence = measurement.evidence(control=None if control is None else _ready(control, device))
    return Evaluation(
        subject=subject,
        weights_sha256=weights_sha256,
        dataset=dataset,
        n=settled.n,
        seed=request.seed,
        figures=tuple(ledger.figures),
        stages=tuple(ledger.stages),
        worst_case=ledger.worst_case,
        curve=curve,
        gates=judge(evidence),
        libraries={name: version(name) for name in _LIBRARIES},
    )


def chosen_images(count: int, n: int, *, seed: int) -> Tensor:
    """int64[n]: which of `count` test images an evaluation measures."""
    return torch.randperm(count, generator=generator(seed, 7))[:n]


def _ready(module: nn.Module, device: torch.device) -> nn.Module:
    moved: nn.Module = module.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return moved.float().eval()
