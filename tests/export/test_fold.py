"""Folding batch norm changes nothing but rounding, and fits a freshly built network."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from export.fold import ChannelAffine, fold_batch_norm
from tests.export.networks import NAMES, random_images, small_network


@pytest.mark.parametrize("name", NAMES)
def test_logits_stay(name: str) -> None:
    network, images = small_network(name), random_images(3)
    folded = fold_batch_norm(network)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    torch.testing.assert_close(folded(images), network(images).detach(), rtol=1e-4, atol=1e-5)


def test_the_original_is_not_touched() -> None:
    network = small_network("compact_resnet").train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    fold_batch_norm(network)
    assert network.training
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), name


@pytest.mark.parametrize("name", NAMES)
def test_folding_twice_is_folding_once(name: str) -> None:
    once = fold_batch_norm(small_network(name))
    twice = fold_batch_norm(once)
    assert list(once.state_dict()) == list(twice.state_dict())
    for key, value in once.state_dict().items():
        assert torch.equal(value, twice.state_dict()[key])


def test_a_norm_without_a_convolution_becomes_an_affine_map() -> None:
    kinds = [type(module) for module in fold_batch_norm(small_network("norm_before_convolution")).children()]
    assert kinds[3] is ChannelAffine
    assert kinds[5] is nn.Identity


def test_a_convolution_with_two_users_is_not_folded() -> None:
    class Branching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution = nn.Conv2d(3, 4, 1)
            self.norm = nn.BatchNorm2d(4)
            nn.init.constant_(self.norm.bias, 1.0)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            features = self.convolution(images)
            return self.norm(features) + features

    network, images = Branching().eval(), random_images(2)
    folded = fold_batch_norm(network)
    assert isinstance(folded.norm, ChannelAffine)
    torch.testing.assert_close(folded(images), network(images).detach())


def test_a_norm_without_statistics_is_refused() -> None:
    network = nn.Sequential(nn.ReLU(), nn.BatchNorm2d(3, track_running_stats=False))
    with pytest.raises(ValueError, match="running statistics"):
        fold_batch_norm(network)
