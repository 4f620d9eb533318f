"""The traced gradient against autograd in float64, where rounding moves no ReLU: all values must agree."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from export.backward import input_gradient_decompositions
from export.fold import fold_batch_norm
from export.trace import classifier_program, gradient_program
from probes.losses import UNTARGETED, Loss, loss_and_cotangent
from tests.export.networks import CLASSES, NAMES, random_images, small_network, spec


@pytest.mark.parametrize("loss", list(Loss))
@pytest.mark.parametrize("name", NAMES)
def test_decomposed_backward_pass_is_autograd(name: str, loss: Loss) -> None:
    network = fold_batch_norm(small_network(name)).double()
    weights = network.state_dict()
    images = random_images(6).double()
    rows = torch.arange(6)
    labels, losses = rows % CLASSES, torch.full_like(rows, int(loss))
    targets = torch.where(rows % 2 == 0, UNTARGETED, (rows + 2) % CLASSES)

    def climb(points: Tensor) -> Tensor:
        pullback = torch.func.vjp(lambda p: torch.func.functional_call(network, weights, (p,)), points)
        return pullback[1](loss_and_cotangent(pullback[0], labels, targets, losses)[1])[0]

    traced = make_fx(climb, decomposition_table=input_gradient_decompositions())(images)
    backward = [str(node.target) for node in traced.graph.nodes if "backward" in str(node.target)]
    assert backward == []
    points = images.clone().requires_grad_(True)
    logits = network(points)
    _, cotangent = loss_and_cotangent(logits.detach(), labels, targets, losses)
    (expected,) = torch.autograd.grad(logits, points, cotangent)
    torch.testing.assert_close(traced(images), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("count", [1, 4])
def test_programs_take_any_batch(count: int) -> None:
    """A batch as large as another axis of the network is no special case."""
    network = fold_batch_norm(small_network("compact_resnet"))
    weights = tuple(network.state_dict().values())
    images, numbers = random_images(count), torch.arange(count) % 3
    logits = classifier_program(network, spec()).module()(images, *weights)
    torch.testing.assert_close(logits, network(images))
    program = gradient_program(network, spec(), classes=CLASSES).module()
    answer = program(images, numbers, torch.full_like(numbers, UNTARGETED), numbers, *weights)
    torch.testing.assert_close(answer[0], network(images))
    assert answer[1].shape == (count,)
    assert answer[2].shape == images.shape
