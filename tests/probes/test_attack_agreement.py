"""Our attacks against independent implementations, at equal steps, on a network fitted to real images."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from probes.arrays import Array
from probes.attacks.apgd import apgd
from probes.attacks.fmn import fmn
from probes.attacks.rays import rays
from probes.attacks.square import square
from probes.losses import Loss
from probes.objective import untargeted
from probes.threat import threat_named

torch: Any = pytest.importorskip("torch")
foolbox: Any = pytest.importorskip("foolbox")
pyautoattack: Any = pytest.importorskip("pyautoattack")

from pyautoattack.autopgd_base import APGDAttack  # noqa: E402
from pyautoattack.square import SquareAttack  # noqa: E402

from tests.probes.torch_networks import TorchClassifier, fitted, photographs  # noqa: E402

COUNT = 100


@pytest.fixture(scope="module")
def target(one_thread: None) -> tuple[Any, Array, Array]:
    """A network, images it never saw, and the classes it answers for them."""
    network = fitted()
    images, _ = photographs("test", COUNT)
    return network, images, network(images).argmax(1)


def not_below(mine: Array, theirs: Array) -> bool:
    """Whether a success rate is not below another one beyond two standard errors of their difference."""
    pooled = max(0.5 * (float(mine.mean()) + float(theirs.mean())), 1 / COUNT)
    return float(mine.mean()) >= float(theirs.mean()) - 2 * math.sqrt(2 * pooled * (1 - pooled) / COUNT)


@pytest.mark.parametrize(
    ("norm", "eps"),
    [("linf", 1 / 255), ("linf", 2 / 255), ("l2", 0.1), ("l2", 0.2), ("l1", 1.0), ("l1", 2.0)],
)
@pytest.mark.parametrize(("loss", "name"), [(Loss.CROSS_ENTROPY, "ce"), (Loss.DLR, "dlr")])
def test_our_apgd_succeeds_no_less_often(
    target: tuple[Any, Array, Array], norm: str, eps: float, loss: Loss, name: str
) -> None:
    network, images, labels = target
    library = APGDAttack(network, n_iter=20, norm=norm.capitalize(), eps=eps, loss=name, seed=0, device="cpu")
    theirs = (network(library.perturb(images, labels)).argmax(1) != labels).float()
    ours = apgd(
        untargeted(TorchClassifier(network), labels, loss=loss),
        images,
        threat=threat_named(norm),
        eps=torch.full((COUNT,), eps),
        steps=20,
    )
    mine = network(ours.images).argmax(1) != labels
    assert 0.1 < float(theirs.mean()) < 0.9
    # Both climb the same loss from one start each, so less than a sampling error apart: two images.
    assert int(mine.sum()) >= int(theirs.sum()) - 2


@pytest.mark.parametrize(("norm", "eps"), [("linf", 2 / 255), ("linf", 4 / 255), ("l2", 0.4), ("l1", 8.0)])
def test_our_square_succeeds_no_less_often(target: tuple[Any, Array, Array], norm: str, eps: float) -> None:
    network, images, labels = target
    library = SquareAttack(network, norm=norm.capitalize(), eps=eps, n_queries=199, seed=0, device="cpu")
    theirs = (network(library.perturb(images, labels)).argmax(1) != labels).float()
    ours = square(
        untargeted(TorchClassifier(network), labels, loss=Loss.MARGIN).query,
        images,
        threat=threat_named(norm),
        eps=torch.full((COUNT,), eps),
        queries=200,
        early_stop=True,
    )
    mine = (network(ours.images).argmax(1) != labels).float()
    assert 0.1 < float(theirs.mean()) < 0.9
    assert not_below(mine, theirs)


def test_our_rays_comes_nearer_than_hop_skip_jump(target: tuple[Any, Array, Array]) -> None:
    # No library at hand has RayS: this is what foolbox has for attacks by decisions alone.
    network, images, labels = target
    model, asked = foolbox.PyTorchModel(network, bounds=(0, 1), device="cpu"), []
    library = foolbox.attacks.HopSkipJumpAttack(
        steps=3, initial_gradient_eval_steps=50, max_gradient_eval_steps=100, constraint="linf"
    )
    hook = network.register_forward_hook(lambda _, inputs, __: asked.append(len(inputs[0])))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        _, points, _ = library(model, images, labels, epsilons=None)
    hook.remove()
    theirs = threat_named("linf").size(points - images)
    ours = rays(
        untargeted(TorchClassifier(network), labels).query,
        images,
        eps=torch.full((COUNT,), 4 / 255),
        queries=sum(asked) // COUNT,
    )
    mine = (network(ours.images).argmax(1) != labels).float()
    assert bool((mine.bool() == ours.adversarial).all())
    assert 0.1 < float(mine.mean()) < 0.9
    assert not_below(mine, (theirs <= 4 / 255).float())
    assert float((-ours.value).median()) <= float(theirs.median())


# foolbox 3.3.4 does not project in its l2 FMN (norms are divided by themselves), so DDN stands in for it.
@pytest.mark.parametrize(
    ("norm", "attack", "steps"),
    [
        ("linf", "LInfFMNAttack", 20),
        ("linf", "LInfFMNAttack", 100),
        ("l2", "DDNAttack", 20),
        ("l2", "DDNAttack", 100),
        ("l1", "L1FMNAttack", 20),
    ],
)
def test_our_fmn_comes_no_less_near(
    target: tuple[Any, Array, Array], norm: str, attack: str, steps: int
) -> None:
    network, images, labels = target
    threat = threat_named(norm)
    model = foolbox.PyTorchModel(network, bounds=(0, 1), device="cpu")
    _, points, found = getattr(foolbox.attacks, attack)(steps=steps)(model, images, labels, epsilons=None)
    theirs = torch.where(found, threat.size(points - images), torch.inf).numpy()
    ours = fmn(
        untargeted(TorchClassifier(network), labels, loss=Loss.MARGIN), images, threat=threat, steps=steps
    )
    assert bool(ours.adversarial.all())
    assert bool((network(ours.images).argmax(1) != labels).all())
    assert np.median(ours.size.numpy()) <= 1.01 * np.median(theirs)
