"""Foolbox's attacks that look for the smallest perturbation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import eagerpy
from foolbox.attacks.ddn import DDNAttack
from foolbox.attacks.fast_minimum_norm import L2FMNAttack, LInfFMNAttack
from foolbox.devutils import atleast_kd, flatten
from foolbox.models.pytorch import PyTorchModel
from torch import Tensor, nn

from benchmarks.agreement.libraries import Attack
from probes.threat import Norm


class ProjectingL2FMNAttack(L2FMNAttack):
    """Foolbox's FMN for l2, with its projection mended.

    Release 3.3.4 divides norms by themselves where the algorithm (Pintor et al., arXiv 2102.12827) divides
    eps by them, so that nothing is projected and the perturbations stay large.
    """

    def project(self, x: Any, x0: Any, epsilon: Any) -> Any:
        """The point in the l2 ball of radius `epsilon` [N] around `x0` that is nearest to `x`."""
        delta = x - x0
        norms = eagerpy.maximum(flatten(delta).norms.l2(axis=-1), 1e-12)
        return x0 + delta * atleast_kd(eagerpy.minimum(1, epsilon / norms), x.ndim)


_ATTACKS: dict[Norm, dict[str, Callable[..., Any]]] = {
    "linf": {"LInfFMNAttack": LInfFMNAttack},
    "l2": {"L2FMNAttack": ProjectingL2FMNAttack, "DDNAttack": DDNAttack},
}


def minimum_norm_attacks(network: nn.Module, *, norm: Norm, steps: int) -> dict[str, Attack]:
    """FMN and, for l2, DDN with foolbox's own settings, by name. Each step takes one gradient of an image.

    Args:
        network: images in [0, 1] to logits, in eval mode.
    """
    return {name: _run(network, kind(steps=steps)) for name, kind in _ATTACKS[norm].items()}


def _run(network: nn.Module, attack: Any) -> Attack:
    model = PyTorchModel(network, bounds=(0, 1), device="cpu")

    def run(images: Tensor, labels: Tensor) -> Tensor:
        adversarial: Tensor = attack(model, images, labels, epsilons=None)[1]
        return adversarial

    return run
