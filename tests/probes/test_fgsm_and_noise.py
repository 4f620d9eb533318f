"""Single steps and noise: where they end on models whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from probes.attacks.fgsm import fgsm, noise_fgsm
from probes.attacks.noise import random_noise
from probes.ball import norms
from probes.objective import untargeted
from probes.threat import L1, L2, Linf, Threat
from tests.probes.models import Convert, grey, images, network, on, predicted, two_class


def test_fgsm_is_the_optimum_of_a_linear_model(convert: Convert) -> None:
    model, batch = two_class(), grey()[None]
    radii = convert(np.full((1,), 0.03, dtype=np.float32))
    result = fgsm(
        untargeted(on(convert, model), convert(np.asarray([0]))), convert(batch), threat=Linf(), eps=radii
    )
    expected = batch + 0.03 * np.sign(model.weights[1] - model.weights[0]).reshape(batch.shape)
    np.testing.assert_allclose(np.asarray(result.images), expected, atol=1e-6)


def test_noise_fgsm_steps_from_a_point_twice_as_far_away(convert: Convert) -> None:
    batch = np.full((4, 3, 4, 4), 0.5, dtype=np.float32)
    radii = convert(np.full((4,), 0.1, dtype=np.float32))
    points = np.asarray(
        noise_fgsm(
            untargeted(on(convert, network()), convert(np.zeros((4,), dtype=np.int64))),
            convert(batch),
            threat=Linf(),
            eps=radii,
        )
    )
    farthest = np.abs(points - batch).max()
    assert 0.2 < farthest <= 0.3 + 1e-6


@pytest.mark.parametrize("threat", [Linf(), L2(), L1()], ids=lambda threat: threat.norm)
def test_noise_stays_in_the_ball_and_more_draws_never_find_less(convert: Convert, threat: Threat) -> None:
    model, batch = network(), images(4)
    labels, radii = convert(predicted(model, batch)), convert(np.full((4,), 0.3, dtype=np.float32))
    few, many = (
        random_noise(
            untargeted(on(convert, model), labels), convert(batch), threat=threat, eps=radii, draws=draws
        )
        for draws in (2, 6)
    )
    assert np.all(norms(np.asarray(many.images) - batch, threat.norm) <= 0.3 + 1e-6)
    assert np.all(np.asarray(many.value) >= np.asarray(few.value))
