"""Losses and their cotangents, by hand and against automatic differentiation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probes.losses import Loss, loss_and_cotangent, margin, minimum_classes
from tests.probes.models import Convert

LOGITS = [3.0, 1.0, 2.0, 0.0]


def evaluate(
    convert: Convert, logits: list[float], label: int, target: int, loss: Loss
) -> tuple[float, list[float]]:
    value, cotangent = loss_and_cotangent(
        convert(np.asarray([logits], dtype=np.float32)),
        convert(np.asarray([label])),
        convert(np.asarray([target])),
        convert(np.asarray([int(loss)])),
    )
    return float(value[0]), [float(entry) for entry in cotangent[0]]


def probabilities(logits: list[float]) -> list[float]:
    total = sum(math.exp(logit) for logit in logits)
    return [math.exp(logit) / total for logit in logits]


def test_cross_entropy_by_hand(convert: Convert) -> None:
    p = probabilities(LOGITS)
    value, cotangent = evaluate(convert, LOGITS, 0, -1, Loss.CROSS_ENTROPY)
    assert value == pytest.approx(-math.log(p[0]), rel=1e-5)
    assert cotangent == pytest.approx([p[0] - 1, p[1], p[2], p[3]], rel=1e-4)
    value, cotangent = evaluate(convert, LOGITS, 0, 2, Loss.CROSS_ENTROPY)
    assert value == pytest.approx(math.log(p[2]), rel=1e-5)
    assert cotangent == pytest.approx([-p[0], -p[1], 1 - p[2], -p[3]], rel=1e-4)


def test_margin_by_hand(convert: Convert) -> None:
    assert evaluate(convert, LOGITS, 0, -1, Loss.MARGIN) == (-1.0, [-1.0, 0.0, 1.0, 0.0])
    assert evaluate(convert, LOGITS, 1, -1, Loss.MARGIN) == (2.0, [1.0, -1.0, 0.0, 0.0])
    assert evaluate(convert, LOGITS, 0, 3, Loss.MARGIN) == (-3.0, [-1.0, 0.0, 0.0, 1.0])


def test_dlr_by_hand(convert: Convert) -> None:
    # Sorted: 3, 2, 1, 0. Untargeted -(3 - 2) / (3 - 1); targeted at class 3: -(3 - 0) / (3 - (1 + 0) / 2).
    value, cotangent = evaluate(convert, LOGITS, 0, -1, Loss.DLR)
    assert value == pytest.approx(-0.5)
    # d/dz0 of (z2 - z0) / (z0 - z1) is -1/2 + 1/4, d/dz1 is -1/4, d/dz2 is 1/2.
    assert cotangent == pytest.approx([-0.25, -0.25, 0.5, 0.0])
    assert evaluate(convert, LOGITS, 0, 3, Loss.DLR)[0] == pytest.approx(-1.2)


def test_dlr_does_not_change_with_the_scale_of_the_logits(convert: Convert) -> None:
    value, _ = evaluate(convert, LOGITS, 0, -1, Loss.DLR)
    scaled, _ = evaluate(convert, [1e4 * logit for logit in LOGITS], 0, -1, Loss.DLR)
    assert scaled == pytest.approx(value)


def test_cross_entropy_keeps_a_gradient_where_the_probability_rounds_to_one(convert: Convert) -> None:
    _, cotangent = evaluate(convert, [30.0, 0.0, 0.0, 0.0], 0, -1, Loss.CROSS_ENTROPY)
    assert cotangent == pytest.approx([-3 * math.exp(-30), *[math.exp(-30)] * 3], rel=1e-4)


@pytest.mark.parametrize("classes", [2, 3, 4, 7])
@pytest.mark.parametrize("loss", list(Loss))
@pytest.mark.parametrize("targeted", [False, True])
def test_cotangents_are_the_derivatives(classes: int, loss: Loss, targeted: bool) -> None:
    torch = pytest.importorskip("torch")
    generator = torch.Generator().manual_seed(classes)
    logits = torch.randn(16, classes, generator=generator, dtype=torch.float64, requires_grad=True)
    labels = torch.randint(classes, (16,), generator=generator)
    targets = (labels + 1) % classes if targeted else torch.full((16,), -1)
    value, cotangent = loss_and_cotangent(logits, labels, targets, torch.full((16,), int(loss)))
    (expected,) = torch.autograd.grad(value.sum(), logits)
    torch.testing.assert_close(cotangent.detach(), expected, rtol=1e-6, atol=1e-9)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**31), st.integers(2, 8))
def test_every_sample_takes_its_own_loss_on_both_libraries(seed: int, classes: int) -> None:
    torch = pytest.importorskip("torch")
    generator = np.random.default_rng(seed)
    logits = generator.normal(scale=4.0, size=(9, classes)).astype(np.float32)
    labels = generator.integers(classes, size=9)
    targets = np.where(generator.random(9) < 0.5, -1, (labels + 1) % classes)
    losses = np.tile(np.asarray([0, 1, 2]), 3)
    value, cotangent = loss_and_cotangent(logits, labels, targets, losses)
    for row in range(9):
        single = slice(row, row + 1)
        alone, _ = loss_and_cotangent(logits[single], labels[single], targets[single], losses[single])
        np.testing.assert_array_equal(value[single], alone)
    theirs = loss_and_cotangent(*(torch.from_numpy(array) for array in (logits, labels, targets, losses)))
    np.testing.assert_allclose(value, theirs[0].numpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(cotangent, theirs[1].numpy(), rtol=1e-4, atol=1e-5)


def test_margin_is_positive_while_the_label_wins(convert: Convert) -> None:
    logits = convert(np.asarray([LOGITS, LOGITS], dtype=np.float32))
    assert [float(one) for one in margin(logits, convert(np.asarray([0, 1])))] == [1.0, -2.0]


def test_dlr_ranks_three_logits_and_four_when_targeted() -> None:
    assert minimum_classes(Loss.DLR, targeted=False) == 3
    assert minimum_classes(Loss.DLR, targeted=True) == 4
    assert minimum_classes(Loss.MARGIN, targeted=True) == 2


def test_targeted_dlr_with_three_classes_is_the_margin(convert: Convert) -> None:
    three = [3.0, 1.0, 2.0]
    assert evaluate(convert, three, 0, 1, Loss.DLR) == evaluate(convert, three, 0, 1, Loss.MARGIN)
    value, _ = evaluate(convert, three, 0, -1, Loss.DLR)
    assert value == pytest.approx((2.0 - 3.0) / (3.0 - 1.0))
