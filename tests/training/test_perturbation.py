"""Perturbations of training: what each attack does, the mix, and that gradients do not underflow."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from probes.objective import untargeted
from tests.training.batches import make_batch, make_network
from training.classifier import TorchClassifier, attack_mode
from training.networks import build_network
from training.perturbation import Attack, Climb, Perturbation


def _lose(attack: Attack, count: int = 16) -> tuple[torch.Tensor, torch.Tensor, nn.Module]:
    network, batch = make_network(), make_batch(count)
    found = Perturbation(attack, network).lose(batch.images, batch.labels, samples=batch.samples, seed=3)
    return found, batch.images, network.eval()


@pytest.mark.parametrize(
    "attack",
    [
        Attack(),
        Attack(name="cw"),
        Attack(name="fgsm"),
        Attack(name="fgsm_rs"),
        Attack(name="noise_fgsm"),
        Attack(start="near"),
        Attack(norm="l2", eps=0.5, step_size=0.2),
        Attack(norm="l1", eps=12, step_size=2, start="near"),
        Attack(name="mix", mix=("pgd", "cw", "fgsm")),
    ],
    ids=lambda attack: f"{attack.name}-{attack.norm}-{attack.start}",
)
def test_the_cross_entropy_rises(attack: Attack) -> None:
    found, images, network = _lose(attack)
    labels = make_batch(16).labels
    before, after = (
        nn.functional.cross_entropy(network(points), labels, reduction="none") for points in (images, found)
    )
    assert after.mean() > before.mean()
    assert found.min() >= 0.0
    assert found.max() <= 1.0


def test_a_mix_gives_each_image_what_its_attack_alone_would() -> None:
    mixed, _, _ = _lose(Attack(name="mix", mix=("pgd", "fgsm")), count=32)
    alone = {name: _lose(Attack(name=name), count=32)[0] for name in ("pgd", "fgsm")}  # type: ignore[arg-type]
    same = {
        name: [torch.allclose(a, b, atol=1e-6) for a, b in zip(mixed, found, strict=True)]
        for name, found in alone.items()
    }
    assert all(first != second for first, second in zip(same["pgd"], same["fgsm"], strict=True))
    assert any(same["pgd"])
    assert any(same["fgsm"])


def test_what_needs_labels_does_not_climb_other_objectives() -> None:
    network, batch = make_network(), make_batch()
    climb = Climb(lambda points, _: network(points).sum(1))
    with pytest.raises(ValueError, match=r"attack\.name = 'cw'"):
        Perturbation(Attack(name="cw"), network).climb(climb, batch.images, samples=batch.samples, seed=0)


@pytest.mark.parametrize("autocast", [False, True])
def test_input_gradients_are_autograd_s(autocast: bool) -> None:
    network = make_network().eval()
    images, labels = torch.rand(4, 3, 32, 32), torch.arange(4)
    found = untargeted(TorchClassifier(network, autocast=autocast), labels)(images, torch.arange(4))
    points = images.clone().requires_grad_(True)
    (expected,) = torch.autograd.grad(
        nn.functional.cross_entropy(network(points), labels, reduction="sum"), points
    )
    if autocast:
        assert found.gradient.dtype == torch.float32
        cosine = nn.functional.cosine_similarity(found.gradient.flatten(1), expected.flatten(1))
        assert cosine.min() > 0.95
    else:
        torch.testing.assert_close(found.gradient, expected, rtol=1e-4, atol=1e-7)
    assert all(parameter.grad is None for parameter in network.parameters())


@pytest.mark.parametrize("autocast", [False, True])
def test_gradients_of_a_confident_network_do_not_underflow(autocast: bool) -> None:
    # p of the label is 1 in float32; the cross-entropy's gradient is about e^-40, far below float16's range.
    torch.manual_seed(0)
    network = build_network("compact_resnet", 2, {"widths": [8], "blocks": [1]}).eval()
    with torch.no_grad():
        network.fc.bias.copy_(torch.tensor([40.0, 0.0]))
    objective = untargeted(TorchClassifier(network, autocast=autocast), torch.zeros(3, dtype=torch.int64))
    gradient = objective(torch.rand(3, 3, 32, 32), torch.arange(3)).gradient
    assert (gradient.abs().flatten(1).amax(1) > 0).all()
    assert gradient.abs().max() < 1e-12


def test_attack_mode_restores_the_mode() -> None:
    network = make_network()
    for training in (True, False):
        network.train(training)
        with attack_mode(network):
            assert not network.training
        assert network.training is training
