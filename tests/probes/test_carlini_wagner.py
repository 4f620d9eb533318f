"""The l2 attack of Carlini and Wagner: where it must end on a linear model, and what it promises."""

from __future__ import annotations

import numpy as np
import pytest

from probes.attacks.carlini_wagner import carlini_wagner
from probes.losses import Loss, margin
from probes.objective import untargeted
from tests.probes.models import Convert, Linear, grey, images, network, two_class


def _on(convert: Convert, model: Linear) -> Linear:
    return Linear(convert(model.weights), convert(model.bias))


def test_it_ends_near_the_boundary_of_a_linear_model(convert: Convert) -> None:
    model, batch = two_class(), grey()[None]
    label = np.argmax(model.logits(batch), axis=1)
    slope = np.linalg.norm(model.weights[1] - model.weights[0])
    nearest = float(margin(model.logits(batch), label)[0]) / slope

    objective = untargeted(_on(convert, model), convert(label), loss=Loss.MARGIN)
    result = carlini_wagner(objective, convert(batch), trade_off=10.0, steps=600, learning_rate=0.005)

    assert bool(result.adversarial[0])
    distance = float(np.linalg.norm(np.asarray(result.images) - batch))
    assert nearest <= distance <= 1.05 * nearest
    assert float(result.value[0]) == pytest.approx(-(distance**2), rel=1e-4)


def test_what_is_called_adversarial_is() -> None:
    model, batch = network(), images(12)
    label = np.argmax(model.logits(batch), axis=1)
    objective = untargeted(model, label, loss=Loss.MARGIN)
    result = carlini_wagner(objective, batch, trade_off=1.0)
    predicted = np.argmax(model.logits(result.images), axis=1)
    assert (predicted[result.adversarial] != label[result.adversarial]).all()
    assert result.adversarial.any() and not result.adversarial.all()
    np.testing.assert_array_equal(result.images[~result.adversarial], batch[~result.adversarial])
    assert result.images.min() >= 0.0
    assert result.images.max() <= 1.0


def test_more_steps_never_end_further_away() -> None:
    model, batch = network(), images(8)
    label = np.argmax(model.logits(batch), axis=1)
    objective = untargeted(model, label, loss=Loss.MARGIN)
    few, many = (carlini_wagner(objective, batch, steps=steps) for steps in (20, 60))
    assert (many.adversarial >= few.adversarial).all()
    assert (many.value >= few.value).all()
