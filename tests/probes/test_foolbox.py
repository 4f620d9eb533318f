"""Our PGD against an independent implementation, at equal steps, on a torch network."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from probes.arrays import Array
from probes.attacks.pgd import pgd
from probes.objective import untargeted
from probes.threat import threat_named

torch: Any = pytest.importorskip("torch")
foolbox: Any = pytest.importorskip("foolbox")

from tests.probes.torch_networks import TorchClassifier  # noqa: E402

STEPS = 10
COUNT = 200


@pytest.fixture(scope="module")
def trained(one_thread: None) -> Iterator[tuple[Any, Array, Array]]:
    """A small network trained to tell smooth from rough and bright from dark, and test images."""
    generator = torch.Generator().manual_seed(0)
    images, labels = made_up(600, generator)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = torch.nn.Sequential(
            torch.nn.Conv2d(3, 8, 3, padding=1),
            torch.nn.ReLU(),
            torch.nn.Conv2d(8, 16, 3, stride=2),
            torch.nn.ReLU(),
            torch.nn.Flatten(),
            torch.nn.Linear(16 * 9, 4),
        )
    optimiser = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(60):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(network(images), labels).backward()
        optimiser.step()
    network.eval().requires_grad_(False)
    tests, answers = made_up(COUNT, generator)
    right = network(tests).argmax(1) == answers
    assert right.float().mean() > 0.8
    yield network, tests[right], answers[right]


def made_up(count: int, generator: Any) -> tuple[Array, Array]:
    labels = torch.randint(4, (count,), generator=generator)
    smooth = torch.rand(count, 3, 2, 2, generator=generator).repeat_interleave(4, 2).repeat_interleave(4, 3)
    rough = torch.rand(count, 3, 8, 8, generator=generator)
    images = torch.where((labels % 2 == 0)[:, None, None, None], smooth, rough)
    shift = torch.where(labels < 2, -0.15, 0.15)[:, None, None, None]
    return (0.25 + 0.5 * images + shift).clip(0, 1), labels


@pytest.mark.parametrize(
    ("norm", "attack", "radii"),
    [("linf", "LinfPGD", (0.02, 0.04, 0.06)), ("l2", "L2PGD", (0.2, 0.4, 0.6))],
)
def test_our_pgd_succeeds_no_less_often(
    trained: tuple[Any, Array, Array], norm: str, attack: str, radii: tuple[float, ...]
) -> None:
    network, images, labels = trained
    model = foolbox.PyTorchModel(network, bounds=(0, 1), device="cpu")
    threat = threat_named(norm)
    rates = []
    for eps in radii:
        theirs = getattr(foolbox.attacks, attack)(rel_stepsize=2.5 / STEPS, steps=STEPS, random_start=True)
        torch.manual_seed(0)
        _, _, success = theirs(model, images, labels, epsilons=eps)
        ours = pgd(
            untargeted(TorchClassifier(network), labels),
            images,
            threat=threat,
            eps=torch.full((len(images),), eps),
            steps=STEPS,
        )
        assert bool((threat.size(ours.images - images) <= eps * (1 + 1e-5) + 1e-6).all())
        assert bool((ours.adversarial == (network(ours.images).argmax(1) != labels)).all())
        mine, other = float(ours.adversarial.float().mean()), float(success.float().mean())
        rates.append(other)
        spread = math.sqrt(max(other * (1 - other), 1 / len(images)) / len(images))
        assert mine >= other - 2 * spread
    # Radii at which nothing or everything flips would compare nothing.
    assert any(0.1 < rate < 0.9 for rate in rates), rates
    assert np.all(np.diff(rates) >= 0)
