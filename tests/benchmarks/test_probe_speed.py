"""The probe-speed benchmark compares like with like: rounds in turn, the same ball, equal quality."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from itertools import accumulate, chain, repeat

import pytest
import torch

from benchmarks.probe_speed import pgd
from benchmarks.probe_speed.smallest_eps import STEP_COUNTS, compare, enough_steps, geometric_mean
from benchmarks.probe_speed.subjects import Subject, bundled
from benchmarks.timing import Times, interleaved
from engines.load import EngineOptions, load_engine
from probes.arrays import Array
from probes.classifier import Classifier, Gradient


class Counted:
    """A classifier that counts the images whose gradient it is asked for."""

    def __init__(self, classifier: Classifier) -> None:
        self._classifier = classifier
        self.gradients = 0

    def logits(self, images: Array) -> Array:
        return self._classifier.logits(images)

    def gradient(self, images: Array, labels: Array, targets: Array, losses: Array) -> Gradient:
        self.gradients += len(images)
        return self._classifier.gradient(images, labels, targets, losses)


@pytest.fixture(scope="module")
def subject() -> Subject:
    return bundled()


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def test_rounds_take_each_action_in_turn_and_leave_the_warm_up_out() -> None:
    order: list[str] = []
    # Each reading of the clock is one second later than the one before, the first action's warm-up longer.
    ticks: Iterator[float] = accumulate(chain([0.0, 100.0], repeat(1.0)))
    times = interleaved(
        {"a": lambda: order.append("a"), "b": lambda: order.append("b")},
        rounds=2,
        repeats=2,
        clock=lambda: next(ticks),
    )
    assert order == ["a", "a", "b", "b"] * 3
    assert times.seconds == {"a": (0.5, 0.5), "b": (0.5, 0.5)}


def test_a_ratio_pairs_the_times_of_one_round() -> None:
    """A busy machine doubles both times of a round: the ratio stays, a quotient of medians would not."""
    times = Times(seconds={"slow": (2.0, 8.0, 8.0), "fast": (1.0, 4.0, 4.0), "other": (1.0, 1.0, 4.0)})
    assert times.median("slow") == 8.0
    assert times.ratio("slow", "fast") == 2.0
    assert times.ratio("slow", "other") == 2.0


@pytest.mark.parametrize(("rounds", "repeats"), [(0, 1), (1, 0)])
def test_no_rounds_are_refused(rounds: int, repeats: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        interleaved({}, rounds=rounds, repeats=repeats)


def test_as_few_steps_as_reach_the_quality() -> None:
    after = {steps: 1.0 / steps for steps in STEP_COUNTS}
    assert enough_steps(after, 1 / 50) == 50
    assert enough_steps(after, 1e-9) is None
    assert geometric_mean([0.01, 0.04]) == pytest.approx(0.02)
    assert geometric_mean([0.01, float("inf")]) == float("inf")


def test_the_smallest_eps_of_both_is_one_of_the_same_network(subject: Subject, images: torch.Tensor) -> None:
    pytest.importorskip("foolbox")
    labels = subject.network(images).argmax(dim=1)[:2]
    clock = iter(range(10_000))
    with closing(load_engine(subject.bundle, EngineOptions(engine="cpu", threads=1))) as engine:
        ways = list(
            compare(
                engine,
                subject.network,
                images[:2],
                labels,
                trained_eps=8 / 255,
                rounds=1,
                clock=lambda: float(next(clock)),
                step_counts=(5, 10),
            )
        )
    assert [way.way for way in ways] == ["probe", "fmn, 20 steps"]
    for way in ways:
        assert 0.0 < way.our_eps < 1.0 and way.fmn_eps > 0.0
        reached = way.fmn_steps is not None
        assert reached == (way.fmn_eps <= way.our_eps)
        assert (way.our_seconds, way.fmn_seconds, way.ratio) == (1.0, 1.0, 1.0 if reached else None)
    assert ways[0].our_eps <= ways[1].our_eps * 1.001


def test_ours_and_the_bare_calls_ask_for_as_many_gradients(subject: Subject, images: torch.Tensor) -> None:
    """Early stopping asks once: the labels attacked are wrong already."""
    labels = (subject.network(images).argmax(dim=1) + 1) % 10
    counts = {}
    with closing(load_engine(subject.bundle, EngineOptions(engine="cpu", threads=1))) as engine:
        counted = Counted(engine)
        for name, action in pgd.ours(counted, images, labels, steps=4).items():
            counted.gradients = 0
            action()
            counts[name] = counted.gradients
    assert counts[pgd.OURS] == counts[pgd.BARE] == 5 * len(images)
    assert counts[pgd.EARLY] == len(images)
