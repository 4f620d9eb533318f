"""Our PGD against three libraries at equal steps, on the bundled model and real images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.agreement.layout import OURS
from benchmarks.agreement.paired import paired
from export.bundle import resolve_bundle
from probes.arrays import Array
from probes.threat import Norm, threat_named

torch: Any = pytest.importorskip("torch")
for library in ("art", "foolbox", "torchattacks"):
    pytest.importorskip(library)

from benchmarks.agreement.libraries import LIBRARIES, library_attacks  # noqa: E402
from benchmarks.agreement.pgd import breaks, our_attacks  # noqa: E402
from benchmarks.agreement.subject import Subject, open_subject  # noqa: E402

REPOSITORY = Path(__file__).parents[2]
STEPS = 5


@pytest.fixture(scope="module")
def subject(one_thread: None) -> Subject:
    """The bundled model, and 100 test images."""
    bundle = resolve_bundle(REPOSITORY / "models", "clead-cifar10")
    return open_subject(bundle, REPOSITORY / "tests" / "data")


@pytest.fixture(scope="module")
def right(subject: Subject) -> tuple[Array, Array, Array]:
    """Images that the model is right about, their labels and places."""
    places = subject.chosen(100)
    images, labels = subject.images.batch(places, torch.device("cpu"))
    chosen = subject.answers(images) == labels
    return images[chosen], labels[chosen], places[chosen]


@pytest.mark.parametrize(("norm", "eps"), [("linf", 8 / 255), ("l2", 1.0)])
def test_our_pgd_breaks_no_fewer_images(
    subject: Subject, right: tuple[Array, Array, Array], norm: Norm, eps: float
) -> None:
    images, labels, places = right
    step_size = 2.5 * eps / STEPS
    libraries = library_attacks(
        subject.network, norm=norm, eps=eps, steps=STEPS, step_size=step_size, classes=subject.classes
    )
    torch.manual_seed(0)
    np.random.seed(0)
    attacks = {**our_attacks(subject, places, norm=norm, eps=eps, steps=STEPS), **libraries}

    broken = {
        name: breaks(subject, attack, images, labels, norm=norm, eps=eps).tolist()
        for name, attack in attacks.items()
    }

    assert attacks.keys() == {*OURS, *LIBRARIES}
    for theirs in LIBRARIES:
        # An attack that breaks nothing or everything would compare nothing.
        assert 0.1 < np.mean(broken[theirs]) < 0.9
        for ours in OURS:
            assert paired(broken[ours], broken[theirs]).not_below, (ours, theirs)


def test_an_image_outside_the_ball_counts_for_nobody(
    subject: Subject, right: tuple[Array, Array, Array]
) -> None:
    images, labels, _ = right

    def far(batch: Array, _: Array) -> Array:
        return torch.zeros_like(batch)

    inside = breaks(subject, far, images, labels, norm="linf", eps=1.0)
    outside = breaks(subject, far, images, labels, norm="linf", eps=8 / 255)
    assert inside.any()
    assert bool((threat_named("linf").size(images) > 8 / 255).all())
    assert not outside.any()
