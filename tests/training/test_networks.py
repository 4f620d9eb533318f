from __future__ import annotations

import pytest
import torch

from training.networks import build_network


@pytest.mark.parametrize(("name", "size"), [("resnet18_cifar", 32), ("resnet18", 96), ("resnet50", 64)])
def test_networks_take_images_and_give_logits(name: str, size: int) -> None:
    network = build_network(name, 7).eval()
    with torch.no_grad():
        features = network.features(torch.rand(2, 3, size, size))
        assert features.shape == (2, network.num_features)
        assert network(torch.rand(2, 3, size, size)).shape == (2, 7)
