"""Projected gradient descent of other libraries, as one kind of function."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import torch
import torchattacks
from art.attacks.evasion import ProjectedGradientDescentPyTorch
from art.estimators.classification import PyTorchClassifier
from foolbox.attacks import L2PGD, LinfPGD
from foolbox.models.pytorch import PyTorchModel
from torch import Tensor, nn

from probes.threat import Norm

Attack = Callable[[Tensor, Tensor], Tensor]
"""(images float32[N, 3, H, W], labels int64[N]) to adversarial images."""
LIBRARIES = {
    "torchattacks": "torchattacks",
    "foolbox": "foolbox",
    "ART": "adversarial-robustness-toolbox",
}
"""Names of the compared libraries, and of their distributions."""


def library_attacks(
    network: nn.Module, *, norm: Norm, eps: float, steps: int, step_size: float, classes: int
) -> dict[str, Attack]:
    """PGD of each library on the cross-entropy, from one random start, by its name in `LIBRARIES`.

    They draw from the global generators of torch and NumPy: seed those.

    Args:
        network: images in [0, 1] to logits [N, `classes`], in eval mode.
    """
    return {
        "torchattacks": _torchattacks(network, norm, eps, steps, step_size),
        "foolbox": _foolbox(network, norm, eps, steps, step_size),
        "ART": _art(network, norm, eps, steps, step_size, classes),
    }


def _torchattacks(network: nn.Module, norm: Norm, eps: float, steps: int, step_size: float) -> Attack:
    kind = torchattacks.PGD
    if norm == "l2":
        # It cannot take gradients in another memory format than torch's default.
        kind, network = torchattacks.PGDL2, copy.deepcopy(network).to(memory_format=torch.contiguous_format)
    attack: Attack = kind(network, eps=eps, alpha=step_size, steps=steps, random_start=True)
    return attack


def _foolbox(network: nn.Module, norm: Norm, eps: float, steps: int, step_size: float) -> Attack:
    model = PyTorchModel(network, bounds=(0, 1), device="cpu")
    kind = LinfPGD if norm == "linf" else L2PGD
    attack = kind(abs_stepsize=step_size, steps=steps, random_start=True)

    def run(images: Tensor, labels: Tensor) -> Tensor:
        adversarial: Tensor = attack(model, images, labels, epsilons=eps)[1]
        return adversarial

    return run


def _art(network: nn.Module, norm: Norm, eps: float, steps: int, step_size: float, classes: int) -> Attack:
    def run(images: Tensor, labels: Tensor) -> Tensor:
        classifier = PyTorchClassifier(
            model=network,
            loss=nn.CrossEntropyLoss(),
            input_shape=tuple(images.shape[1:]),
            nb_classes=classes,
            clip_values=(0.0, 1.0),
            device_type="cpu",
        )
        attack = ProjectedGradientDescentPyTorch(
            classifier,
            norm=np.inf if norm == "linf" else 2,
            eps=eps,
            eps_step=step_size,
            max_iter=steps,
            num_random_init=1,
            batch_size=len(images),
            verbose=False,
        )
        return torch.from_numpy(attack.generate(images.numpy(), labels.numpy()))

    return run
