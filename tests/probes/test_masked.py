"""Models built to look robust: the probe may flip them or say inconclusive, but never held."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from probes.arrays import Array
from probes.budget import Budget
from probes.classifier import Classifier, Gradient
from probes.probe import probe
from probes.report import ProbeReport
from probes.request import ProbeRequest
from tests.probes.models import Linear, Quantised, Randomised, Scaled, grey, many_class, two_class

QUESTIONS: list[dict[str, Any]] = [
    {"eps": (2 / 255,)},
    {"eps": (4 / 255,)},
    {"eps": (2 / 255, 4 / 255, 16 / 255)},
    {},
    {"norm": "l2"},
    {"norm": "l2", "eps": (0.05,)},
    {"norm": "l1"},
    {"norm": "l1", "eps": (0.3,)},
    {"eps": (4 / 255,), "loss": "cross-entropy"},
    {"eps": (4 / 255,), "evidence": "full"},
]


def ask(model: Classifier, **options: Any) -> ProbeReport:
    return probe(model, grey(), ProbeRequest(**options), trained_eps=4 / 255, budget=Budget())


def failed(report: ProbeReport) -> set[str]:
    return {check.check for check in report.evidence if not check.passed}


@pytest.mark.parametrize("question", QUESTIONS, ids=str)
@pytest.mark.parametrize(
    "model",
    [Scaled(many_class(classes=3), 1e4), Quantised(two_class()), Randomised(two_class())],
    ids=lambda m: type(m).__name__,
)
def test_a_masked_model_never_holds(model: Classifier, question: dict[str, Any]) -> None:
    report = ask(model, **question)
    assert report.verdict in ("inconclusive", "flipped")
    if report.verdict == "inconclusive":
        assert failed(report) and "cannot be trusted" in report.meaning


def test_the_margin_loss_flips_a_saturated_model_that_cross_entropy_cannot() -> None:
    model = Scaled(many_class(classes=3), 1e4)
    blind = ask(model, eps=(12 / 255,), loss="cross-entropy")
    # The first search climbs the margin whatever the loss, and what it finds counts.
    assert blind.verdict == "flipped" and "huge_eps_flips" in failed(blind)
    seeing = ask(model, eps=(12 / 255,), loss="margin")
    assert seeing.verdict == "flipped" and not failed(seeing)


def test_a_huge_eps_that_flips_nothing_is_named() -> None:
    assert "huge_eps_flips" in failed(ask(Quantised(two_class()), eps=(2 / 255,)))


def test_a_model_that_answers_differently_each_time_is_named() -> None:
    assert "deterministic" in failed(ask(Randomised(two_class()), eps=(1 / 255,)))


class Misleading(Linear):
    """Its gradient points the wrong way, so the attack walks away from the boundary."""

    def gradient(self, images: Array, labels: Array, targets: Array, losses: Array) -> Gradient:
        logits, value, gradient = super().gradient(images, labels, targets, losses)
        return Gradient(logits, value, -gradient)


def test_an_attack_that_climbs_down_is_named() -> None:
    honest = two_class()
    report = ask(Misleading(honest.weights, honest.bias), eps=(4 / 255,))
    assert report.verdict == "inconclusive"
    assert "loss_rises" in failed(report)


class Disagreeing(Linear):
    """Its gradient graph computes another network than the one that is served."""

    def gradient(self, images: Array, labels: Array, targets: Array, losses: Array) -> Gradient:
        logits, value, gradient = super().gradient(images, labels, targets, losses)
        return Gradient(logits + np.asarray([-2.0, 2.0], dtype=np.float32), value, gradient)


def test_examples_that_only_the_gradient_graph_sees_are_no_flips() -> None:
    honest = two_class()
    report = ask(Disagreeing(honest.weights, honest.bias), eps=(4 / 255,))
    assert report.verdict == "inconclusive" and report.minimal_eps.flipped is None
    assert {"served_classifier_confirms", "gradient_graph_agrees"} <= failed(report)


class Pocket(Linear):
    """Flips only very close to the image: the gradient leads past the pocket, noise falls into it."""

    def logits(self, images: Array) -> Array:
        logits = super().logits(images)
        moved = np.max(np.abs(images - grey()), axis=(1, 2, 3))
        pocket = (moved > 0) & (moved < 3.99 / 255)
        return np.where(pocket[:, None], logits[:, ::-1], logits)

    def gradient(self, images: Array, labels: Array, targets: Array, losses: Array) -> Gradient:
        _, value, gradient = super().gradient(images, labels, targets, losses)
        return Gradient(super().logits(images), value, gradient)


def test_an_example_found_by_noise_is_a_flip_like_any_other() -> None:
    honest = two_class()
    report = ask(Pocket(honest.weights, honest.bias), eps=(4 / 255,))
    assert report.verdict == "flipped"


class Shell(Linear):
    """Flips only where every value moved by the first step of the attack at the huge eps, 2.5 x 0.5 / 8."""

    def logits(self, images: Array) -> Array:
        logits = super().logits(images)
        moved = np.abs(images - grey())
        low, high = np.min(moved, axis=(1, 2, 3)), np.max(moved, axis=(1, 2, 3))
        shell = (low > 0.15) & (high < 0.162)
        certain = np.asarray([9.0, 0.0], dtype=np.float32) + np.float32(1e-3) * logits
        return np.where(shell[:, None], certain[:, ::-1], certain)

    def gradient(self, images: Array, labels: Array, targets: Array, losses: Array) -> Gradient:
        _, value, gradient = super().gradient(images, labels, targets, losses)
        return Gradient(self.logits(images), value, gradient * np.float32(1e-3))


@pytest.mark.parametrize("question", [{"eps": (0.3,)}, {"max_eps": 0.3}], ids=str)
def test_an_example_that_the_huge_eps_meets_inside_the_ball_is_a_flip(question: dict[str, Any]) -> None:
    honest = two_class()
    report = ask(Shell(honest.weights, honest.bias), steps=8, **question)
    assert 0.15 < report.minimal_eps.flipped < 0.162
    assert "flips_persist" in failed(report)
    # A search goes on below it.
    assert "eps" in question or report.minimal_eps.held > 0.13


def test_an_example_that_the_huge_eps_meets_outside_of_the_ball_is_not_counted() -> None:
    honest = two_class()
    report = ask(Shell(honest.weights, honest.bias), steps=8, eps=(0.1,))
    assert report.minimal_eps.flipped is None and "huge_eps_flips" not in failed(report)


class Diverted(Linear):
    """Its gradient is right for most of the values and points the wrong way for the others:
    the loss rises, more than by noise, but an attack that asks for answers alone gets further."""

    def gradient(self, images: Array, labels: Array, targets: Array, losses: Array) -> Gradient:
        logits, value, gradient = super().gradient(images, labels, targets, losses)
        wrong = np.arange(gradient[0].size).reshape(gradient[0].shape) % 7 < 2
        return Gradient(logits, value, np.where(wrong, -gradient, gradient))


@pytest.mark.parametrize("evidence", ["quick", "full"])
def test_a_query_only_attack_that_does_better_is_named(evidence: str) -> None:
    honest = two_class()
    report = ask(Diverted(honest.weights, honest.bias), eps=(3 / 255,), evidence=evidence)
    assert report.verdict == "inconclusive"
    assert "queries_do_not_beat_attack" in failed(report)
    assert {"gradient_not_zero", "loss_rises", "noise_does_not_beat_attack"}.isdisjoint(failed(report))


def test_an_example_found_by_queries_is_a_flip_like_any_other() -> None:
    honest = two_class()
    report = ask(Diverted(honest.weights, honest.bias), eps=(8 / 255,), evidence="full")
    assert report.verdict == "flipped"
    assert {"queries_do_not_beat_attack", "flips_persist"} <= failed(report)


class Undefined(Linear):
    """Gives no finite answer for any image but one."""

    def logits(self, images: Array) -> Array:
        logits = super().logits(images)
        moved = np.any(images != grey(), axis=(1, 2, 3))
        return np.where(moved[:, None], np.float32(np.nan), logits)


def test_logits_that_are_not_finite_are_no_flip_and_are_named() -> None:
    honest = two_class()
    report = ask(Undefined(honest.weights, honest.bias), eps=(4 / 255,))
    assert report.verdict == "inconclusive" and report.minimal_eps.flipped is None
    assert "logits_finite" in failed(report)


def test_a_failed_check_never_weakens_a_flip() -> None:
    model = Randomised(two_class(margin=0.1), scale=1e-3, honest=True)
    report = ask(model, eps=(16 / 255,))
    assert report.verdict == "flipped" and "deterministic" in failed(report)


class Shifted(Linear):
    """All logits have the same large number added, which changes no answer but drowns them in rounding."""

    def logits(self, images: Array) -> Array:
        return (super().logits(images) + np.float32(1e6)).astype(np.float32)

    def gradient(self, images: Array, labels: Array, targets: Array, losses: Array) -> Gradient:
        _, value, gradient = super().gradient(images, labels, targets, losses)
        return Gradient(self.logits(images), value, gradient)


@pytest.mark.parametrize("eps", [0.01, 0.02])
def test_logits_that_rounding_decides_never_hold(eps: float) -> None:
    honest = two_class(margin=0.3)
    report = ask(Shifted(honest.weights, honest.bias), eps=(eps,))
    assert report.verdict == "flipped" or failed(report)


def test_a_shift_of_all_logits_hides_no_difference_between_the_graphs() -> None:
    class ShiftedAndDisagreeing(Disagreeing):
        def logits(self, images: Array) -> Array:
            return super().logits(images) + np.float32(1e3)

    honest = two_class()
    report = ask(ShiftedAndDisagreeing(honest.weights, honest.bias), eps=(4 / 255,))
    assert "gradient_graph_agrees" in failed(report)


class Pretending(Linear):
    """Its gradient graph claims that every point but the image itself is at the boundary."""

    def gradient(self, images: Array, labels: Array, targets: Array, losses: Array) -> Gradient:
        logits, value, gradient = super().gradient(images, labels, targets, losses)
        moved = np.any(images != grey(), axis=(1, 2, 3))[:, None]
        signs = np.where(np.arange(gradient[0].size).reshape(gradient[0].shape) % 2, 1, -1)
        tied = np.asarray([1e-3, 0.0], dtype=np.float32)
        return Gradient(
            np.where(moved, tied, logits), value, np.where(moved[..., None, None], signs, gradient)
        )


def test_the_served_margin_counts_and_not_the_graphs_own() -> None:
    honest = two_class()
    report = ask(Pretending(honest.weights, honest.bias), eps=(8 / 255,))
    assert report.verdict == "flipped" or failed(report)
