"""The training-speed benchmark compares like with like, and its breakdown adds up."""

from __future__ import annotations

import json
import types
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks.training_speed import reference, subjects
from benchmarks.training_speed.__main__ import REPOSITORY, RESULTS
from benchmarks.training_speed.page import write_page
from benchmarks.training_speed.reference import BATCH_SIZE, EPS, NOISE, Pictures
from benchmarks.training_speed.stages import DATA, Stage, Stopwatch, breakdown, shares
from benchmarks.training_speed.subjects import ATTACKS, HELD_OUT, Loop
from export.manifest import InputSpec
from tests.training.batches import make_network
from training.data.images import LabelledImages
from training.data.sources import open_images
from training.networks.network import Network

CPU = torch.device("cpu")
SLICE = Path(__file__).parents[1] / "data" / "cifar10"


@pytest.fixture(scope="module")
def images() -> LabelledImages:
    spec = InputSpec(height=32, width=32, resize=32)
    return open_images(SLICE, "train", dataset="cifar10", spec=spec).spread(BATCH_SIZE + HELD_OUT + 7)


@pytest.fixture
def loops(
    images: LabelledImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], list[Loop]]:
    """Both loops with an attack, on a network small enough for a test."""
    build = subjects.build_network
    small = {"widths": [8], "blocks": [1]}
    monkeypatch.setattr("training.phases.build_network", lambda name, classes, _: build(name, classes, small))
    monkeypatch.setattr(subjects, "build_network", lambda name, classes: build(name, classes, small))

    def both(attack: str) -> list[Loop]:
        return [
            subjects.ours("compact_resnet", attack, images, tmp_path, CPU, compiled=False),
            subjects.theirs("compact_resnet", attack, images, CPU, workers=0),
        ]

    return both


@pytest.mark.parametrize("attack", ATTACKS)
def test_both_loops_show_their_networks_as_many_images(
    loops: Callable[[str], list[Loop]], attack: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if attack == "pgd-10":
        pytest.importorskip("torchattacks")
    shown: list[tuple[int, bool]] = []
    original = Network.features

    def counted(self: Network, images: Tensor) -> Tensor:
        shown.append((len(images), self.training))
        return original(self, images)

    monkeypatch.setattr(Network, "features", counted)
    # One whole batch: passes for the attack in eval mode, then the update's in train mode.
    passes = {"n-fgsm": 1, "pgd-10": 10}[attack]
    for loop in loops(attack):
        shown.clear()
        for _ in range(2):
            loop.epoch()
        assert shown == ([(BATCH_SIZE, False)] * passes + [(BATCH_SIZE, True)]) * 2


def test_pictures_are_those_of_the_data(images: LabelledImages, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = Pictures(images, 5)
    assert len(pictures) == 5
    monkeypatch.setattr(pictures, "_transform", lambda picture: picture)
    picture, label = pictures[3]
    assert label == images.labels[3]
    pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)
    assert torch.equal(pixels, images.pixels(torch.tensor([3]))[0])


def test_the_plain_n_fgsm_makes_one_step_from_strong_noise() -> None:
    network, images = make_network(), torch.full((4, 3, 32, 32), 0.5)
    found = reference.n_fgsm(network)(images, torch.arange(4))
    assert network.training and not found.requires_grad
    assert (1 + 0.9 * NOISE) * EPS < (found - images).abs().max() <= (1 + NOISE) * EPS + 1e-6


def test_a_stage_within_another_stops_its_clock() -> None:
    ticks: Iterator[int] = count()
    watch = Stopwatch(lambda: float(next(ticks)))
    with watch("outer"):
        with watch("inner"):
            pass
        with watch("inner"), watch("outer"):
            pass
    # The clock is read at each of 8 borders: 7 seconds, the inner stage's without the outer one inside it.
    assert watch.seconds == {"outer": 4.0, "inner": 3.0}


def test_a_breakdown_covers_the_whole_epoch_and_leaves_no_trace() -> None:
    ticks = count()
    work = types.SimpleNamespace(step=lambda: torch.ones(2).sum())
    before = work.step
    found = breakdown(
        lambda: work.step(),
        [Stage(work, "step", "update")],
        clock=lambda: float(next(ticks)),
        device=CPU,
    )
    assert found.stages == {DATA: 2.0, "update": 1.0}
    assert sum(found.operations.values()) == pytest.approx(1.0)
    assert work.step is before


def test_operations_are_told_apart_by_name() -> None:
    times = {
        "aten::mkldnn_convolution": 3.0,
        "aten::convolution_backward": 3.0,
        "aten::native_batch_norm_backward": 1.0,
        "aten::threshold_backward": 1.0,
        "aten::add": 2.0,
    }
    assert shares(times) == {"convolutions": 0.6, "batch norm": 0.1, "ReLU": 0.1, "other": 0.2}


def test_the_page_is_that_of_the_results(tmp_path: Path) -> None:
    write_page(RESULTS, tmp_path)
    page = (tmp_path / "training_speed.md").read_text(encoding="utf-8")
    assert page == (REPOSITORY / "docs" / "training_speed.md").read_text(encoding="utf-8")


def test_without_results_the_page_states_no_figure(tmp_path: Path) -> None:
    write_page(tmp_path / "none", tmp_path)
    page = (tmp_path / "training_speed.md").read_text(encoding="utf-8")
    assert "Not measured in this version" in page and "|" not in page


def test_the_page_states_ratios_shares_and_the_machine(tmp_path: Path) -> None:
    def spent(data: float, attack: float, update: float) -> dict[str, object]:
        stages = {"data": data, "attack": attack, "update": update}
        return {"stages": stages, "operations": {"convolutions": 0.5, "other": 0.5}}

    report = {
        "images": 1280,
        "rounds": 2,
        "clock": "cpu",
        "device": "cpu",
        "compile": False,
        "batch_size": 128,
        "torch": "2.15.0",
        "provenance": {"cpu": "AMD EPYC", "cores": 2, "threads": 1, "commit": "0123456789"},
        "rows": [
            {
                "network": "compact_resnet",
                "attack": "pgd-10",
                "ratio": 1.4,
                "ratio_of_each_round": [1.5, 1.3],
                "breakdown": {"ours": spent(1.0, 6.0, 3.0), "reference": spent(2.0, 1.0, 1.0)},
            }
        ],
    }
    results = tmp_path / "results"
    results.mkdir()
    (results / "cpu.json").write_text(json.dumps(report), encoding="utf-8")
    write_page(results, tmp_path)
    page = (tmp_path / "training_speed.md").read_text(encoding="utf-8")

    assert "| `compact_resnet` | pgd-10 | 1,280 | 2 | 1.40 | 1.30 to 1.50 |" in page
    assert "| `compact_resnet` | pgd-10 | ours | 10.0% | 60.0% | 30.0% | 50.0% |" in page
    assert "| `compact_resnet` | pgd-10 | reference | 50.0% | 25.0% | 25.0% | 50.0% |" in page
    assert "On AMD EPYC, 2 cores, 1 thread, commit 0123456: device cpu, cpu time" in page
    assert "Not measured" not in page
