"""Contrastive losses against sums written out in plain NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from training.contrastive import Distance, contrast, info_nce, similarity, three_view


def _unit(seed: int, count: int = 5) -> np.ndarray:
    values = np.random.default_rng(seed).normal(size=(count, 4))
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def _info_nce_by_hand(u: np.ndarray, v: np.ndarray, t: float) -> list[float]:
    losses = []
    for i in range(len(u)):
        others = sum(np.exp(u[i] @ u[j] / t) for j in range(len(u)) if j != i)
        views = sum(np.exp(u[i] @ v[j] / t) for j in range(len(v)))
        losses.append(-np.log(np.exp(u[i] @ v[i] / t) / (others + views)))
    return losses


@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_info_nce_is_the_formula(temperature: float) -> None:
    u, v = _unit(0), _unit(1)
    ours = info_nce(torch.from_numpy(u), torch.from_numpy(v), temperature)
    assert ours.tolist() == pytest.approx(_info_nce_by_hand(u, v, temperature))


def test_two_orthogonal_images_seen_alike() -> None:
    # u = v = the unit axes, t = 1: e^1 for the own view, e^0 for the other view and for the other anchor.
    axes = torch.eye(2, dtype=torch.float64)
    expected = -np.log(np.e / (np.e + 1.0 + 1.0))
    assert info_nce(axes, axes, 1.0).tolist() == pytest.approx([expected, expected])


def test_with_labels_all_of_the_class_attract_but_never_the_anchor_itself() -> None:
    u, v, labels, t = _unit(0, 4), _unit(1, 4), [0, 1, 0, 2], 0.5
    expected = []
    for i in range(4):
        everything = [(u[i] @ v[j] / t, labels[j]) for j in range(4)]
        everything += [(u[i] @ u[j] / t, labels[j]) for j in range(4) if j != i]
        total = np.log(sum(np.exp(s) for s, _ in everything))
        alike = [total - s for s, label in everything if label == labels[i]]
        expected.append(sum(alike) / len(alike))
    ours = info_nce(torch.from_numpy(u), torch.from_numpy(v), t, labels=torch.tensor(labels))
    assert ours.tolist() == pytest.approx(expected)


def test_labels_that_all_differ_are_instances() -> None:
    u, v = torch.from_numpy(_unit(0)), torch.from_numpy(_unit(1))
    torch.testing.assert_close(info_nce(u, v, 0.1, labels=torch.arange(5)), info_nce(u, v, 0.1))


def test_three_view_has_the_clean_view_as_only_anchor() -> None:
    u, v1, v2 = (torch.from_numpy(_unit(seed)) for seed in range(3))
    first = np.array(_info_nce_by_hand(u.numpy(), v1.numpy(), 0.1))
    second = np.array(_info_nce_by_hand(u.numpy(), v2.numpy(), 0.1))
    assert three_view(u, v1, v2, 0.1).tolist() == pytest.approx(list((first + second) / 2))
    assert three_view(v1, u, v2, 0.1).tolist() != pytest.approx(list((first + second) / 2))


def test_an_anchor_without_positives_loses_nothing_and_moves_nothing() -> None:
    scores = torch.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    none, some = torch.zeros(2, 2, dtype=torch.bool), torch.tensor([[True, False], [False, False]])
    losses = contrast(scores, some, none)
    losses.sum().backward()
    assert losses.tolist() == [0.0, 0.0]
    assert scores.grad is not None
    assert scores.grad.isfinite().all()
    # Alone in its pool, the first anchor's positive has the share 1 whatever its score.
    assert scores.grad.abs().max() == 0.0


def test_what_is_neither_positive_nor_negative_takes_no_part() -> None:
    scores = torch.tensor([[0.3, 5.0, -1.0]], dtype=torch.float64)
    positives = torch.tensor([[True, False, False]])
    negatives = torch.tensor([[False, False, True]])
    expected = -np.log(np.exp(0.3) / (np.exp(0.3) + np.exp(-1.0)))
    assert contrast(scores, positives, negatives).tolist() == pytest.approx([expected])


@pytest.mark.parametrize(("distance", "order"), [("l1", 1), ("l2", 2), ("linf", np.inf)])
def test_similarities_are_minus_the_distance(distance: Distance, order: float) -> None:
    a, b = _unit(0, 3), _unit(1, 2)
    expected = [[-np.linalg.norm(x - y, ord=order) / 0.2 for y in b] for x in a]
    ours = similarity(torch.from_numpy(a), torch.from_numpy(b), temperature=0.2, distance=distance)
    np.testing.assert_allclose(ours.numpy(), expected)


def test_the_gradient_of_a_distance_to_itself_is_finite() -> None:
    # The anchors are among what they are contrasted with: at distance zero the l2 norm has no derivative.
    points = torch.from_numpy(_unit(0, 3)).requires_grad_(True)
    for distance in ("l1", "l2", "linf", "cosine"):
        scores = similarity(points, points, temperature=0.2, distance=distance)  # type: ignore[arg-type]
        (gradient,) = torch.autograd.grad(scores.sum(), points)
        assert gradient.isfinite().all()
