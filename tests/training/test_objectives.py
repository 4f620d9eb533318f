from __future__ import annotations

import pytest
import torch
from torch import nn

from probes.objective import untargeted
from training.classifier import TorchClassifier, attack_mode
from training.contrastive import three_view
from training.data.split import generator
from training.networks import build_network
from training.objectives.batch import Batch
from training.objectives.clead import Clead
from training.recipe import Attack, Objective


def _batch(count: int = 6) -> Batch:
    images = torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    return Batch(
        images=images,
        labels=torch.arange(count) % 10,
        samples=torch.arange(count),
        attack_seed=7,
        generator=generator(0),
    )


@pytest.mark.parametrize(
    "attack", [Attack(steps=2), Attack(name="noise_fgsm"), Attack(norm="l2", eps=0.5, step_size=0.2)]
)
def test_clead_is_cross_entropy_plus_weighted_contrast(attack: Attack) -> None:
    losses = {}
    for weight in (0.0, 0.5, 2.0):
        torch.manual_seed(0)
        network = build_network("compact_resnet", 10, {"widths": [8, 16], "blocks": [1, 1]}).train()
        objective = Clead(Objective(weight=weight, projection=8), attack, network.num_features)
        losses[weight] = objective(network, _batch(), autocast=False)
    terms = losses[0.5].terms
    assert losses[0.0].loss.item() == pytest.approx(terms["cross_entropy"].item(), rel=1e-5)
    for weight in (0.5, 2.0):
        expected = terms["cross_entropy"] + weight * terms["contrast"]
        assert losses[weight].loss.item() == pytest.approx(expected.item(), rel=1e-5)


def test_the_contrast_ties_the_clean_view_to_the_other_two() -> None:
    # A network that keeps all pixels, so that the views are known: projections of the images themselves.
    class Pixels(nn.Module):
        num_features = 3 * 32 * 32

        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(self.num_features, 10)

        def features(self, images: torch.Tensor) -> torch.Tensor:
            self.seen = images.detach()
            return images.flatten(1)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.fc(self.features(images))

    torch.manual_seed(0)
    network = Pixels().train()
    objective = Clead(Objective(projection=8), Attack(steps=1), network.num_features)
    outcome = objective(network, _batch(), autocast=False)  # type: ignore[arg-type]
    u, v1, v2 = (
        nn.functional.normalize(objective.modules["projection"](view.flatten(1)), dim=1)
        for view in network.seen.split(6)
    )
    assert outcome.terms["contrast"].item() == pytest.approx(three_view(u, v1, v2, 0.1).item(), rel=1e-5)
    clean, adversarial, _ = network.seen.split(6)
    assert (adversarial - clean).abs().max() <= 8 / 255 + 1e-6


def test_the_perturbation_raises_the_cross_entropy() -> None:
    torch.manual_seed(0)
    network = build_network("compact_resnet", 10, {"widths": [8, 16], "blocks": [1, 1]})
    batch = _batch()
    objective = Clead(Objective(), Attack(), network.num_features)
    adversarial = objective.perturb(network, batch.images, batch, autocast=False)
    network.eval()
    before = nn.functional.cross_entropy(network(batch.images), batch.labels)
    assert nn.functional.cross_entropy(network(adversarial), batch.labels) > before


@pytest.mark.parametrize("autocast", [False, True])
def test_input_gradients_are_autograd_s(autocast: bool) -> None:
    torch.manual_seed(0)
    network = build_network("compact_resnet", 10, {"widths": [8, 16], "blocks": [1, 1]}).eval()
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
    network = build_network("compact_resnet", 10, {"widths": [8], "blocks": [1]})
    for training in (True, False):
        network.train(training)
        with attack_mode(network):
            assert not network.training
        assert network.training is training


@pytest.mark.parametrize(("name", "size"), [("resnet18_cifar", 32), ("resnet18", 96), ("resnet50", 64)])
def test_networks_take_images_and_give_logits(name: str, size: int) -> None:
    network = build_network(name, 7).eval()
    with torch.no_grad():
        features = network.features(torch.rand(2, 3, size, size))
        assert features.shape == (2, network.num_features)
        assert network(torch.rand(2, 3, size, size)).shape == (2, 7)
