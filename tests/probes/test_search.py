"""The search for the smallest eps: closed forms, and what it must not lose."""

from __future__ import annotations

import numpy as np
import pytest

from probes.approach import CLOSER_STEPS
from probes.arrays import Array
from probes.classifier import Gradient
from probes.threat import Norm
from tests.probes.consistency import NORMS, ask, closed_form
from tests.probes.models import Linear, grey, images, many_class, network, two_class


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(
    "model", [two_class(), two_class(margin=0.3, seed=4), many_class(), many_class(seed=3)]
)
def test_the_search_brackets_the_closed_form_answer(model: Linear, norm: Norm) -> None:
    expected = closed_form(model, grey(), norm)
    report = ask(model, grey(), norm=norm)
    held, flipped = report.minimal_eps.held, report.minimal_eps.flipped
    assert held is not None and flipped is not None
    assert held <= expected * (1 + 1e-5)
    assert expected * (1 - 1e-5) <= flipped <= expected * 1.02
    assert flipped - held <= 0.02 * flipped + 1e-9


def test_the_search_knows_the_box() -> None:
    # From black, values can only rise, so only weights that want them to do count.
    model, black = two_class(margin=1.0), np.zeros((3, 4, 4), dtype=np.float32)
    logits = model.logits(black[None])[0].astype(np.float64)
    label = int(np.argmax(logits))
    useful = np.maximum((model.weights[1 - label] - model.weights[label]).astype(np.float64), 0.0)
    expected = float((logits[label] - logits[1 - label]) / useful.sum())
    report = ask(model, black, max_eps=1.0)
    assert report.minimal_eps.flipped == pytest.approx(expected, rel=0.02)
    assert report.minimal_eps.flipped >= expected * (1 - 1e-5)


@pytest.mark.parametrize("norm", NORMS)
def test_fixed_eps_find_what_the_search_finds(norm: Norm) -> None:
    model = network(classes=10, hidden=40)
    missed = 0
    for image in images(8, seed=7):
        nearest = ask(model, image, norm=norm).minimal_eps.flipped
        missed += ask(model, image, norm=norm, eps=(1.02 * nearest,)).verdict != "flipped"
    assert missed <= 1


@pytest.mark.parametrize(("norm", "walks", "far"), [("linf", 1, 20), ("l2", 1, 20), ("l1", 3, 40)])
def test_fixed_eps_begin_with_searches_of_as_many_steps(norm: Norm, walks: int, far: int) -> None:
    batches: list[int] = []

    class Watched(Linear):
        def gradient(self, images: Array, labels: Array, targets: Array, losses: Array) -> Gradient:
            batches.append(len(images))
            return super().gradient(images, labels, targets, losses)

    model = many_class()
    watched = Watched(model.weights, model.bias)
    ask(watched, grey(), norm=norm, eps=(0.001,), restarts=1, every_class=True)
    # Away from the label and to two classes; and to each of the four classes, and on from there.
    assert batches.count(5) == walks * (far + 1)
    assert batches.count(4) == walks * (far + 1 + 20 * CLOSER_STEPS + 1)


@pytest.mark.parametrize("norm", NORMS)
def test_a_search_against_every_class_finds_no_less_than_a_plain_one(norm: Norm) -> None:
    # Both search beyond what they share, and either may be lucky once.
    model, further = network(classes=10, hidden=40), 0
    for image in images(6, seed=11):
        plain, every = (
            ask(model, image, norm=norm, every_class=choice).minimal_eps.flipped for choice in (False, True)
        )
        further += every > 1.01 * plain
    assert further <= 1


def test_what_got_a_few_steps_only_is_never_held() -> None:
    for image in images(12, seed=3):
        for norm in NORMS:
            report = ask(network(classes=20, hidden=24), image, norm=norm, steps=10, restarts=4)
            held, flipped = report.minimal_eps.held, report.minimal_eps.flipped
            assert held == 0.0 or held not in (pytest.approx(0.5 * flipped), pytest.approx(0.8 * flipped))
