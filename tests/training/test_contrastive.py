from __future__ import annotations

import numpy as np
import pytest
import torch

from training.contrastive import info_nce, three_view


def _info_nce_by_hand(u: np.ndarray, v: np.ndarray, t: float) -> float:
    total = 0.0
    for i in range(len(u)):
        others = sum(np.exp(u[i] @ u[j] / t) for j in range(len(u)) if j != i)
        views = sum(np.exp(u[i] @ v[j] / t) for j in range(len(v)))
        total -= np.log(np.exp(u[i] @ v[i] / t) / (others + views))
    return total / len(u)


def _unit(seed: int) -> np.ndarray:
    values = np.random.default_rng(seed).normal(size=(5, 4))
    return values / np.linalg.norm(values, axis=1, keepdims=True)


@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_info_nce_is_the_formula(temperature: float) -> None:
    u, v = _unit(0), _unit(1)
    ours = info_nce(torch.from_numpy(u), torch.from_numpy(v), temperature)
    assert ours.item() == pytest.approx(_info_nce_by_hand(u, v, temperature))


def test_two_orthogonal_images_seen_alike() -> None:
    # u = v = the unit axes, t = 1: e^1 for the own view, e^0 for the other view and for the other anchor.
    axes = torch.eye(2, dtype=torch.float64)
    expected = -np.log(np.e / (np.e + 1.0 + 1.0))
    assert info_nce(axes, axes, 1.0).item() == pytest.approx(expected)


def test_three_view_has_the_clean_view_as_only_anchor() -> None:
    u, v1, v2 = (torch.from_numpy(_unit(seed)) for seed in range(3))
    expected = (
        _info_nce_by_hand(u.numpy(), v1.numpy(), 0.1) + _info_nce_by_hand(u.numpy(), v2.numpy(), 0.1)
    ) / 2
    assert three_view(u, v1, v2, 0.1).item() == pytest.approx(expected)
    assert three_view(v1, u, v2, 0.1).item() != pytest.approx(expected)
