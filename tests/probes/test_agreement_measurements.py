"""The agreement measurements on a linear model, whose smallest eps is known."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pytest

from benchmarks.agreement.layout import NORMS, OURS, SMALLEST_NORMS, Arm
from probes.arrays import Array
from probes.threat import Norm

torch: Any = pytest.importorskip("torch")
for library in ("art", "foolbox", "torchattacks", "pyautoattack"):
    pytest.importorskip(library)

from benchmarks.agreement.ensemble import run_ensemble  # noqa: E402
from benchmarks.agreement.journal import JournalError, read_journal  # noqa: E402
from benchmarks.agreement.libraries import LIBRARIES  # noqa: E402
from benchmarks.agreement.pgd import measure_pgd  # noqa: E402
from benchmarks.agreement.probing import run_probes  # noqa: E402
from benchmarks.agreement.smallest import measure_smallest  # noqa: E402
from benchmarks.agreement.strongest import EPS, measure_strongest  # noqa: E402
from benchmarks.agreement.subject import Subject  # noqa: E402
from tests.probes.linear_subject import linear_subject, smallest_eps  # noqa: E402
from training.evaluation.attacks import TestImages  # noqa: E402

COUNT = 12
FMN = {"linf": "LInfFMNAttack", "l2": "L2FMNAttack", "l1": "L1FMNAttack"}
PASSES = ("gradient", "forward")


@pytest.fixture(scope="module")
def subject(one_thread: None) -> Subject:
    """A linear model that is wrong about the first two of its images."""
    return linear_subject(count=COUNT, wrong=2)


def pixels(subject: Subject, rows: list[dict[str, Any]]) -> Array:
    places = torch.tensor([row["image"] for row in rows])
    return subject.images.batch(places, torch.device("cpu"))[0].numpy()


@pytest.mark.parametrize("norm", NORMS)
def test_pgd_breaks_what_is_within_reach_and_goes_on(subject: Subject, tmp_path: Path, norm: Norm) -> None:
    begun = list(measure_pgd(subject, tmp_path, norm=norm, images=5, steps=10).rows)
    journal = measure_pgd(subject, tmp_path, norm=norm, images=COUNT, steps=10)

    assert journal.rows[:5] == begun
    assert [row["image"] for row in journal.rows] == subject.chosen(COUNT).tolist()
    assert [row["clean"] for row in journal.rows] == [False] * 2 + [True] * (COUNT - 2)
    within = smallest_eps(pixels(subject, journal.rows), norm) <= journal.settings["eps"]
    for row, reached in zip(journal.rows, within.tolist(), strict=True):
        broken = reached or not row["clean"]
        assert [row[name] for name in (*OURS, *LIBRARIES)] == [broken] * 5
    assert read_journal(journal.path).rows == journal.rows


# Two elsewhere: our search in l1 takes so many steps that foolbox converges in fewer.
@pytest.mark.parametrize(
    ("norm", "multiple"), [(norm, 0.2 if norm == "l1" else 2) for norm in SMALLEST_NORMS]
)
def test_foolbox_gets_a_multiple_of_what_our_search_took(
    subject: Subject, tmp_path: Path, norm: Norm, multiple: float
) -> None:
    ours, theirs = measure_smallest(subject, tmp_path, norm=norm, images=3, multiple=multiple)

    exact = smallest_eps(pixels(subject, ours.rows), norm)
    confirmed = np.asarray([row["confirmed"] for row in ours.rows])
    reported = np.asarray([row["flipped"] for row in ours.rows])
    assert np.all((reported >= exact * (1 - 1e-4)) & (reported <= 1.05 * exact))
    # Of this model, torch and NumPy give the same logits but for rounding.
    assert np.allclose(confirmed, reported, rtol=1e-3)
    gradients, forwards = (fmean(row[f"{kind}_evaluations"] for row in ours.rows) for kind in PASSES)
    assert theirs.settings["steps"] == math.ceil(multiple * (gradients + forwards / 3))
    fmn = np.asarray([row[FMN[norm]] for row in theirs.rows])
    assert np.all((fmn >= exact * (1 - 1e-4)) & (fmn <= 1.02 * exact))
    more = measure_smallest(subject, tmp_path, norm=norm, images=4, multiple=multiple)
    assert [len(journal.rows) for journal in more] == [4, 4]
    assert more[1].settings["steps"] == theirs.settings["steps"]
    with pytest.raises(JournalError, match="was measured with multiple"):
        measure_smallest(subject, tmp_path, norm=norm, images=3, multiple=1)


def half_way(radii: Array) -> float:
    """An eps that some images withstand and some do not, far from the smallest eps of any."""
    ordered = np.sort(radii)
    gap = int(np.argmax(np.diff(ordered)[3:9])) + 3
    return float(ordered[gap : gap + 2].mean())


@pytest.mark.parametrize("name", ["ensemble", "probe"])
def test_the_strongest_settings_leave_what_is_out_of_reach(subject: Subject, name: str) -> None:
    places = subject.chosen(COUNT)
    images, labels = subject.images.batch(places, torch.device("cpu"))
    test = TestImages(images=images, labels=labels, device=torch.device("cpu"), batch_size=COUNT)
    radii = smallest_eps(images.numpy(), "linf")
    eps, clean = half_way(radii), subject.answers(images) == labels

    if name == "ensemble":
        stages = run_ensemble(subject.network, test, places, clean, eps=eps, classes=5, seed=0)
    else:
        stages = run_probes(subject.engine, test, clean, eps=eps, seed=0)

    values = list(stages.values())
    assert values[-1].tolist() == ((radii > eps) & clean.numpy()).tolist()
    assert all(bool((later <= earlier).all()) for earlier, later in pairwise(values))


# AutoAttack takes long over what it cannot break, which the fourth image would be.
@pytest.mark.parametrize(("arm", "images"), [("probe", 4), ("autoattack", 3)])
def test_strongest_results_go_on(subject: Subject, tmp_path: Path, arm: Arm, images: int) -> None:
    begun = list(measure_strongest(subject, tmp_path, arm=arm, images=1).rows)
    journal = measure_strongest(subject, tmp_path, arm=arm, images=images)

    assert journal.rows[:1] == begun
    within = smallest_eps(pixels(subject, journal.rows), "linf") <= EPS
    assert [row["clean"] for row in journal.rows] == [False, False, True, True][:images]
    last = [list(row.values())[-1] for row in journal.rows]
    assert last == [row["clean"] and not reached for row, reached in zip(journal.rows, within, strict=True)]
