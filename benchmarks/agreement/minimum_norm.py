"""Foolbox's attacks that look for the smallest perturbation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import eagerpy
from foolbox.attacks.ddn import DDNAttack
from foolbox.attacks.ead import EADAttack
from foolbox.attacks.fast_minimum_norm import L1FMNAttack, L2FMNAttack, LInfFMNAttack
from foolbox.devutils import atleast_kd, flatten
from foolbox.models.pytorch import PyTorchModel
from torch import Tensor, nn

from benchmarks.agreement.libraries import Attack
from probes.threat import Norm

_SEARCHES = 9
"""For the constant of the elastic net; foolbox's own number."""


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


def _elastic_net(*, steps: int) -> EADAttack:
    """All of its searches together take `steps` gradients. It decides by l1, and does not give up early."""
    each = max(1, steps // _SEARCHES)
    return EADAttack(binary_search_steps=_SEARCHES, steps=each, decision_rule="L1", abort_early=False)


_ATTACKS: dict[Norm, dict[str, Callable[..., Any]]] = {
    "linf": {"LInfFMNAttack": LInfFMNAttack},
    "l2": {"L2FMNAttack": ProjectingL2FMNAttack, "DDNAttack": DDNAttack},
    "l1": {"L1FMNAttack": L1FMNAttack, "EADAttack": _elastic_net},
}


def minimum_norm_attacks(network: nn.Module, *, norm: Norm, steps: int) -> dict[str, Attack]:
    """FMN, for l2 also DDN and for l1 the elastic net, by name, with foolbox's own settings but for the
    number of steps. Each step takes one gradient of an image.

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
