"""The probe-speed benchmark compares like with like: rounds in turn, the same ball, equal quality."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from itertools import accumulate, chain, repeat
from pathlib import Path

import pytest
import torch

from benchmarks.probe_speed import pgd
from benchmarks.probe_speed.page import write_page
from benchmarks.probe_speed.smallest_eps import STEP_COUNTS, compare, enough_steps, geometric_mean
from benchmarks.probe_speed.subjects import Subject, bundled
from benchmarks.timing import Times, interleaved
from engines.load import EngineOptions, load_engine
from probes.arrays import Array
from probes.classifier import Classifier, Gradient

REPOSITORY = Path(__file__).parents[2]


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


def test_what_settles_an_action_is_not_timed() -> None:
    now = 0.0
    lasts = {"a": iter([7.0, 1.0] * 3), "b": iter([9.0, 2.0] * 3)}

    def act(name: str) -> None:
        nonlocal now
        now += next(lasts[name])

    actions = {"a": lambda: act("a"), "b": lambda: act("b")}
    times = interleaved(actions, rounds=2, settle=1, clock=lambda: now)
    assert times.seconds == {"a": (1.0, 1.0), "b": (2.0, 2.0)}


@pytest.mark.parametrize(("rounds", "repeats", "settle"), [(0, 1, 0), (1, 0, 0), (1, 1, -1)])
def test_no_rounds_are_refused(rounds: int, repeats: int, settle: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        interleaved({}, rounds=rounds, repeats=repeats, settle=settle)


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


def test_the_page_is_that_of_the_results(tmp_path: Path) -> None:
    write_page(REPOSITORY / "benchmarks" / "probe_speed" / "results", tmp_path)
    page = (tmp_path / "probe_speed.md").read_text(encoding="utf-8")
    assert page == (REPOSITORY / "docs" / "probe_speed.md").read_text(encoding="utf-8")


def test_without_results_the_page_states_no_figure(tmp_path: Path) -> None:
    write_page(tmp_path / "none", tmp_path)
    page = (tmp_path / "probe_speed.md").read_text(encoding="utf-8")
    assert "Not measured in this version" in page and "|" not in page


def test_the_page_states_the_fastest_library_and_what_was_not_reached(tmp_path: Path) -> None:
    seconds = {pgd.OURS: 0.1, pgd.EARLY: 0.05, pgd.BARE: 0.08, "torchattacks": 0.3, "foolbox": 0.2}
    searched = {"images": 20, "our_eps": 0.01, "our_seconds": 0.5, "fmn_eps": 0.02, "fmn_seconds": 2.5}
    report = {
        "steps": 20,
        "rounds": 5,
        "clock": "wall",
        "libraries": {"torch": "2.15.0", "foolbox": "3.3.4"},
        "provenance": {"cpu": "AMD EPYC", "cores": 2, "threads": 2, "commit": "0123456789"},
        "pgd": [
            {
                "model": "resnet18",
                "images": 64,
                "torch_format": "channels_last",
                "seconds": seconds,
                "times_ours": {name: value / 0.1 for name, value in seconds.items()},
                "fastest_library": 2.0,
                "loop_overhead": 0.25,
            }
        ],
        "smallest_eps": [
            searched | {"way": "probe", "fmn_steps": None, "ratio": None},
            searched | {"way": "fmn, 20 steps", "fmn_steps": 75, "ratio": 5.0},
        ],
    }
    results = tmp_path / "results"
    results.mkdir()
    (results / "cpu.json").write_text(json.dumps(report), encoding="utf-8")
    write_page(results, tmp_path)
    page = (tmp_path / "probe_speed.md").read_text(encoding="utf-8")

    row = "| resnet18 | 64 | 100.0 | foolbox (channels_last) | 200.0 | 2.00 | 4.00 | yes | +25.0% | NO |"
    assert row in page
    assert "| probe | 0.01000 | 500.0 | settled | 0.02000 | 2,500.0 | - | - |" in page
    assert "| fmn, 20 steps | 0.01000 | 500.0 | 75 | 0.02000 | 2,500.0 | 5.00 | yes |" in page
    assert "Not measured: clead-cifar10." in page
    assert "On AMD EPYC, 2 cores, 2 threads, commit 0123456: wall time, torch 2.15.0, foolbox 3.3.4." in page
