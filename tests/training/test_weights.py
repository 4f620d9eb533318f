"""What is done to weights beside descending: perturbed (AWP), and averaged (EMA)."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from tests.training.batches import make_batch, make_network
from training.processes import Processes
from training.weight_average import WeightAverage
from training.weight_perturbation import weights_perturbed


def _loss(network: nn.Module) -> Tensor:
    batch = make_batch()
    return nn.functional.cross_entropy(network(batch.images), batch.labels)


def test_weights_move_uphill_by_gamma_of_their_norm_and_come_back() -> None:
    network = make_network()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    calm = _loss(network).item()
    network.load_state_dict(before)
    with weights_perturbed(network, lambda: _loss(network), gamma=0.05, processes=Processes()):
        for name, weight in network.named_parameters():
            moved = (weight - before[name]).norm().item()
            length = before[name].norm().item() if weight.dim() > 1 else 0.0
            assert moved == pytest.approx(0.05 * length, rel=1e-4), name
        assert _loss(network).item() > calm
        network.load_state_dict({**network.state_dict(), **_buffers(network, before)})
    after = network.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def _buffers(network: nn.Module, values: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: values[name] for name, _ in network.named_buffers()}


def test_the_extra_pass_does_not_move_batch_norm() -> None:
    network = make_network()
    before = {name: value.clone() for name, value in network.named_buffers()}
    with weights_perturbed(network, lambda: _loss(network), gamma=0.01, processes=Processes()):
        assert all(torch.equal(before[name], value) for name, value in network.named_buffers())


def test_frozen_weights_stay() -> None:
    network = make_network()
    network.backbone.requires_grad_(False)
    before = {name: value.clone() for name, value in network.named_parameters()}
    with weights_perturbed(network, lambda: _loss(network), gamma=0.05, processes=Processes()):
        moved = {name for name, value in network.named_parameters() if not torch.equal(value, before[name])}
    assert moved == {"fc.weight"}


def test_weights_come_back_when_the_step_fails() -> None:
    network = make_network()
    before = [parameter.clone() for parameter in network.parameters()]
    with (
        pytest.raises(RuntimeError, match="failed"),
        weights_perturbed(network, lambda: _loss(network), gamma=0.05, processes=Processes()),
    ):
        raise RuntimeError("failed")
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))


def test_the_average_is_the_weighted_sum_of_all_weights() -> None:
    network = make_network()
    average = WeightAverage(network, decay=0.5)
    expected = network.fc.bias.detach().clone()
    for step in range(4):
        with torch.no_grad():
            network.fc.bias.fill_(float(step))
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
        average.update(network, step)
    torch.testing.assert_close(average.network.fc.bias, expected)
    assert not average.network.fc.bias.requires_grad


def test_the_average_holds_batch_norm_s_statistics_too() -> None:
    network = make_network()
    average = WeightAverage(network, decay=0.9)
    first = {name: value.clone() for name, value in network.named_buffers()}
    network(make_batch().images)
    average.update(network, 1000)
    averaged = dict(average.network.named_buffers())
    moved = 0
    for name, value in network.named_buffers():
        if value.is_floating_point():
            torch.testing.assert_close(averaged[name], 0.9 * first[name] + 0.1 * value)
            moved += int(not torch.equal(first[name], value))
        else:
            assert torch.equal(averaged[name], value)
    assert moved >= 6
