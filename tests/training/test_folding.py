"""Folding batch norm while an attack runs changes gradients by rounding only, and nothing for good."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.export.networks import NAMES, random_images, small_network
from tests.training.batches import make_network
from training.batch_norm import SharedBatchNorm2d, share_batch_norm
from training.classifier import TorchClassifier, attack_mode
from training.folding import batch_norm_folded, convolutions_before
from training.networks.network import Network
from training.processes import Processes


def _gradient(module: nn.Module, images: Tensor) -> Tensor:
    points = images.clone().requires_grad_(True)
    loss = functional.cross_entropy(module(points), torch.arange(len(images)), reduction="sum")
    return torch.autograd.grad(loss, points)[0]


def _network() -> Network:
    """In double precision, where no activation crosses a ReLU's edge by rounding, and in train mode.

    Its statistics and parameters of batch norm are away from their start.
    """
    network = make_network().double()
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm2d):
            for values in (norm.running_mean, norm.bias):
                nn.init.uniform_(values, -0.3, 0.3)
            for values in (norm.running_var, norm.weight):
                nn.init.uniform_(values, 0.5, 1.5)
    return network


def _images() -> Tensor:
    return random_images(4, side=32).double()


def _folded_norms(network: nn.Module, images: Tensor) -> list[bool]:
    """Of each batch norm in the order of their calls: whether it left its input as it was."""
    found: list[bool] = []
    hooks = [
        module.register_forward_hook(lambda _, inputs, output: found.append(output is inputs[0]))
        for module in network.modules()
        if isinstance(module, nn.BatchNorm2d)
    ]
    network(images)
    for hook in hooks:
        hook.remove()
    return found


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_those_of_the_unfolded_network(name: str) -> None:
    network, images = small_network(name).double(), random_images(4).double()
    expected = _gradient(network, images)
    with batch_norm_folded(network, convolutions_before(network)):
        norms = _folded_norms(network, images)
        gradient = _gradient(network, images)
    # One of these networks has a batch norm that no convolution precedes.
    assert norms.count(False) == (name == "norm_before_convolution")
    torch.testing.assert_close(gradient, expected, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("shared", [False, True], ids=["alone", "processes"])
@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
def test_attack_mode_folds_and_puts_everything_back(shared: bool, training: bool) -> None:
    network, images = _network().train(training), _images()
    if shared:
        share_batch_norm(network, Processes())
        assert any(isinstance(module, SharedBatchNorm2d) for module in network.modules())
    before = copy.deepcopy(network)
    with attack_mode(network):
        assert all(_folded_norms(network, images))
        gradient = _gradient(network, images)
        assert network.state_dict().keys() == before.state_dict().keys()
    assert network.training == training
    for name, value in network.state_dict().items():
        assert torch.equal(value, before.state_dict()[name]), name
    network.eval()
    assert not any(_folded_norms(network, images))
    torch.testing.assert_close(gradient, _gradient(before.eval(), images), rtol=1e-8, atol=1e-12)


def test_each_attack_meets_the_weights_and_statistics_of_its_time() -> None:
    network, images = _network(), _images()
    with attack_mode(network):
        first = _gradient(network, images)
    network(images)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(1.1)
    with attack_mode(network):
        second = _gradient(network, images)
    assert not torch.allclose(first, second, rtol=1e-2)
    torch.testing.assert_close(second, _gradient(network.eval(), images), rtol=1e-8, atol=1e-12)


def test_an_attack_that_fails_leaves_the_network_as_it_was() -> None:
    network = _network()
    with pytest.raises(KeyError), attack_mode(network):
        raise KeyError
    assert network.training
    assert not any(_folded_norms(network, _images()))


def test_gradients_under_autocast_are_as_close_as_bfloat16_is() -> None:
    network = _network().float()
    images, labels = _images().float(), torch.arange(4)
    unset = torch.zeros_like(labels)
    expected = _gradient(copy.deepcopy(network).eval(), images)
    with attack_mode(network):
        found = TorchClassifier(network, autocast=True).gradient(images, labels, unset - 1, unset).gradient
    cosine = functional.cosine_similarity(found.flatten(1), expected.flatten(1))
    assert cosine.min() > 0.95


def test_a_norm_that_needs_its_batch_is_not_folded() -> None:
    network = _network()
    norm = network.backbone[1]
    norm.running_mean = norm.running_var = None
    with attack_mode(network):
        assert _folded_norms(network, _images()) == [False] + [True] * 5


class _ByValue(nn.Module):
    """Cannot be traced: what it does depends on its input."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)

    def forward(self, images: Tensor) -> Tensor:
        features = self.norm(self.convolution(images)).mean(dim=(2, 3))
        return features if images.mean() > 0 else -features


def test_a_network_that_cannot_be_traced_is_attacked_unfolded() -> None:
    network, images = Network(_ByValue(), 4, 10), _images().float()
    with attack_mode(network):
        assert _folded_norms(network, images) == [False]


def test_a_compiled_backbone_is_attacked_unfolded(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[nn.Module] = []
    monkeypatch.setattr(nn.Module, "compile", lambda self: compiled.append(self))
    network = _network()
    network.compile_backbone()
    assert compiled == [network.backbone]
    with attack_mode(network):
        assert not any(_folded_norms(network, _images()))


def test_a_layer_that_is_called_twice_is_not_folded() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)
            self.norm, self.again = nn.BatchNorm2d(3), nn.BatchNorm2d(3)

        def forward(self, images: Tensor) -> Tensor:
            return self.again(self.second(self.norm(self.second(self.norm(self.first(images))))))

    assert convolutions_before(Twice()) == {}
