"""Foolbox's attacks that look for the smallest perturbation."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import eagerpy
from foolbox.attacks.ddn import DDNAttack
from foolbox.attacks.ead import EADAttack
from foolbox.attacks.fast_minimum_norm import L1FMNAttack, L2FMNAttack, LInfFMNAttack
from foolbox.criteria import Misclassification, TargetedMisclassification
from foolbox.devutils import atleast_kd, flatten
from foolbox.models.pytorch import PyTorchModel
from torch import Tensor, nn

from probes.cost import FORWARD
from probes.threat import Norm

Search = Callable[[Tensor, Tensor], tuple[Tensor, float]]
"""(images float32[N, 3, H, W], labels or targets int64[N]) to the nearest images found, and the evaluations
that all of them together took, in gradients."""
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
    """All of its searches together take what `steps` gradients cost: each of its own steps takes a gradient
    and a forward pass. It decides by l1, and does not give up early."""
    each = math.ceil(steps / (1 + FORWARD) / _SEARCHES)
    return EADAttack(binary_search_steps=_SEARCHES, steps=each, decision_rule="L1", abort_early=False)


_ATTACKS: dict[Norm, dict[str, Callable[..., Any]]] = {
    "linf": {"LInfFMNAttack": LInfFMNAttack},
    "l2": {"L2FMNAttack": ProjectingL2FMNAttack, "DDNAttack": DDNAttack},
    "l1": {"L1FMNAttack": L1FMNAttack, "EADAttack": _elastic_net},
}


def minimum_norm_attacks(
    network: nn.Module, *, norm: Norm, evaluations: int, targeted: bool = False
) -> dict[str, Search]:
    """FMN, for l2 also DDN and for l1 the elastic net, by name, with foolbox's own settings but for the
    number of steps.

    Args:
        network: images in [0, 1] to logits, in eval mode.
        evaluations: what each takes for an image at least, in gradients.
        targeted: towards the classes that it is given, rather than away from them.
    """
    criterion = TargetedMisclassification if targeted else Misclassification
    return {
        name: _search(network, kind(steps=evaluations), criterion) for name, kind in _ATTACKS[norm].items()
    }


class Counted(nn.Module):
    """`network`, and how many images went through it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.gradients = 0
        self.forwards = 0
        """Those without a gradient."""

    def forward(self, images: Tensor) -> Tensor:
        if images.requires_grad:
            self.gradients += len(images)
        else:
            self.forwards += len(images)
        logits: Tensor = self.network(images)
        return logits


def _search(network: nn.Module, attack: Any, criterion: Callable[[Tensor], Any]) -> Search:
    def search(images: Tensor, classes: Tensor) -> tuple[Tensor, float]:
        counted = Counted(network).eval()
        model = PyTorchModel(counted, bounds=(0, 1), device="cpu")
        found: Tensor = attack(model, images, criterion(classes), epsilons=None)[1]
        return found, counted.gradients + FORWARD * counted.forwards

    return search
