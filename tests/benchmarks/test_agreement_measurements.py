"""The agreement measurements on a linear model, whose smallest eps is known."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pytest

from benchmarks.agreement.layout import NORMS, OURS, SEARCHES, Arm, Search
from probes.arrays import Array
from probes.threat import Norm

torch: Any = pytest.importorskip("torch")
for library in ("art", "foolbox", "torchattacks", "pyautoattack"):
    pytest.importorskip(library)

from benchmarks.agreement.ensemble import run_ensemble  # noqa: E402
from benchmarks.agreement.journal import JournalError, read_journal  # noqa: E402
from benchmarks.agreement.libraries import LIBRARIES  # noqa: E402
from benchmarks.agreement.minimum_norm import Counted, minimum_norm_attacks  # noqa: E402
from benchmarks.agreement.pgd import measure_pgd  # noqa: E402
from benchmarks.agreement.probing import run_probes  # noqa: E402
from benchmarks.agreement.ratios import compare, evaluations  # noqa: E402
from benchmarks.agreement.smallest import measure_smallest  # noqa: E402
from benchmarks.agreement.strongest import EPS, measure_strongest  # noqa: E402
from benchmarks.agreement.subject import Subject  # noqa: E402
from tests.benchmarks.linear_subject import MODEL, linear_subject, smallest_eps, smallest_targeted_eps  # noqa: E402
from tests.probes.models import Linear  # noqa: E402
from training.evaluation.attacks import TestImages  # noqa: E402

COUNT = 12
FMN = {"linf": "LInfFMNAttack", "l2": "L2FMNAttack", "l1": "L1FMNAttack"}
SMALLEST_NORMS = sorted({search.norm for search in SEARCHES})


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
    ("search", "multiple"),
    [
        (Search(norm="linf"), 2),
        (Search(norm="l2"), 2),
        (Search(norm="l1"), 0.2),
        (Search(norm="linf", targeted=True), 2),
    ],
    ids=lambda value: value.name if isinstance(value, Search) else None,
)
def test_foolbox_gets_a_multiple_of_what_our_search_took(
    subject: Subject, tmp_path: Path, search: Search, multiple: float
) -> None:
    ours, theirs = measure_smallest(subject, tmp_path, search=search, images=3, multiple=multiple)

    images = pixels(subject, ours.rows)
    if search.targeted:
        exact = smallest_targeted_eps(images, [row["target"] for row in ours.rows])
    else:
        exact = smallest_eps(images, search.norm)
    confirmed = np.asarray([row["confirmed"] for row in ours.rows])
    reported = np.asarray([row["flipped"] for row in ours.rows])
    assert np.all((reported >= exact * (1 - 1e-4)) & (reported <= 1.05 * exact))
    # Of this model, torch and NumPy give the same logits but for rounding.
    assert np.allclose(confirmed, reported, rtol=1e-3)
    found, fmn = compare(ours, theirs), FMN[search.norm]
    given = theirs.settings["evaluations"]
    assert given >= multiple * fmean(evaluations(row) for row in ours.rows)
    # What it took was counted, and is not far more either.
    assert all(given <= taken <= given + 20 for taken in found.attacks.values())
    assert found.multiple >= multiple
    nearest = np.asarray([row["found"][fmn] for row in theirs.rows])
    assert np.all((nearest >= exact * (1 - 1e-4)) & (nearest <= 1.02 * exact))
    # The engine rounds otherwise, and confirms points a little further away.
    served = np.asarray([row["served"][fmn] for row in theirs.rows])
    assert np.all((served >= nearest * (1 - 1e-4)) & (served <= nearest * 1.0011))
    more = measure_smallest(subject, tmp_path, search=search, images=4, multiple=multiple)
    assert [len(journal.rows) for journal in more] == [4, 4]
    assert more[1].settings == theirs.settings


def test_what_only_foolbox_finds_refutes_our_held(subject: Subject, tmp_path: Path) -> None:
    place = subject.chosen(1)
    label = subject.answers(subject.images.batch(place, torch.device("cpu"))[0])
    bias = MODEL.bias.copy()
    bias[label.item()] += 1e4
    stubborn = replace(subject, engine=Linear(MODEL.weights, bias))

    ours, theirs = measure_smallest(stubborn, tmp_path, search=Search(norm="linf"), images=1, multiple=1)

    assert (ours.rows[0]["flipped"], ours.rows[0]["confirmed"]) == (None, None)
    assert theirs.rows[0]["found"]["LInfFMNAttack"] < ours.rows[0]["held"]
    assert theirs.rows[0]["served"] == {"LInfFMNAttack": None}
    found = compare(ours, theirs)
    assert (found.refuted, found.refuted_served, found.ratios) == (1, 0, (math.inf,))


def test_the_target_is_the_third_likeliest_class(subject: Subject, tmp_path: Path) -> None:
    search = Search(norm="linf", targeted=True)
    ours, _ = measure_smallest(subject, tmp_path, search=search, images=2, multiple=0.1)
    images = torch.from_numpy(pixels(subject, ours.rows))
    order = subject.network(images).argsort(dim=1, descending=True)
    assert [[row["label"], row["target"]] for row in ours.rows] == order[:, [0, 2]].tolist()


def test_foolbox_is_not_left_with_too_little(subject: Subject, tmp_path: Path) -> None:
    search = Search(norm="linf")
    measure_smallest(subject, tmp_path, search=search, images=2, multiple=1)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(
        JournalError, match=r"only 1.\d\d times the \d+ that ours takes now, not 2 times: move it"
    ):
        measure_smallest(subject, tmp_path, search=search, images=2, multiple=2)
    # More than is asked for is no fault.
    assert measure_smallest(subject, tmp_path, search=search, images=2, multiple=0.5)[1].rows
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_the_passes_of_foolbox_are_counted(subject: Subject) -> None:
    counted = Counted(subject.network).eval()
    images = torch.rand(3, 3, 4, 4)
    counted(images)
    counted(images.requires_grad_()).sum().backward()
    assert (counted.gradients, counted.forwards) == (3, 3)
    for norm in SMALLEST_NORMS:
        attacks = minimum_norm_attacks(subject.network, norm=norm, evaluations=45)
        labels = subject.answers(images)
        for name, attack in attacks.items():
            taken = attack(images.detach(), labels)[1] / 3
            assert 45 <= taken <= 60, name


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
