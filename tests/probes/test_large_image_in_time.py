"""What takes several batches of a large image, when the time is up."""

from __future__ import annotations

import numpy as np
import pytest

from probes.arrays import Array
from probes.budget import Budget
from probes.classifier import Gradient
from probes.findings import Findings, batch_rows
from probes.goal import Goal
from probes.losses import Loss
from probes.report import Check
from probes.slope import FORWARDS, gradient_is_the_slope
from tests.probes.attacking import ladder_around
from tests.probes.models import Linear

SHAPE = (3, 224, 224)
EPS = 4 / 255
ROWS = batch_rows(np.empty(SHAPE))


class Counted(Linear):
    """Remembers how many images each forward pass had."""

    def __init__(self) -> None:
        weights = np.random.default_rng(0).normal(size=(2, int(np.prod(SHAPE)))).astype(np.float32)
        at_grey = weights @ np.full((weights.shape[1],), 0.5, dtype=np.float32)
        ahead = np.asarray([2.0 * EPS * np.sum(np.abs(weights[1] - weights[0])), 0.0], dtype=np.float32)
        super().__init__(weights, ahead - at_grey)
        object.__setattr__(self, "batches", [])

    def logits(self, images: Array) -> Array:
        self.batches.append(len(images))  # type: ignore[attr-defined]
        return super().logits(images)

    def gradient(self, images: Array, labels: Array, targets: Array, losses: Array) -> Gradient:
        forwards = list(self.batches)  # type: ignore[attr-defined]
        answer = super().gradient(images, labels, targets, losses)
        self.batches[:] = forwards  # type: ignore[attr-defined]
        return answer


def check(*, forwards: int | None) -> tuple[Check | None, list[int], Budget]:
    """The check, the images of its forward passes, and its budget, which says stop once so many passes are
    made."""
    model = Counted()
    batches: list[int] = model.batches  # type: ignore[attr-defined]
    budget = Budget(cancelled=lambda: forwards is not None and len(batches) >= forwards)
    image = np.full(SHAPE, 0.5, dtype=np.float32)
    ladder = ladder_around(model, image, restarts=1, budget=budget)
    clean = ladder.gradient(Loss.MARGIN)
    return gradient_is_the_slope(ladder, EPS, clean=clean, loss=Loss.MARGIN), batches, budget


@pytest.mark.parametrize("forwards", [0, 1, 2, 4])
def test_no_batch_follows_the_end_and_nothing_is_said(forwards: int) -> None:
    made, batches, budget = check(forwards=forwards)
    assert made is None and budget.exhausted
    assert batches == [ROWS] * forwards


def test_in_time_it_takes_bounded_batches_and_passes() -> None:
    made, batches, budget = check(forwards=None)
    assert made is not None and made.passed and not budget.exhausted
    assert sum(batches) == FORWARDS and max(batches) == ROWS < FORWARDS


@pytest.mark.parametrize(("forwards", "batches"), [(None, [ROWS, ROWS, 1]), (0, []), (1, [ROWS])])
def test_no_batch_of_rounded_images_follows_the_end(forwards: int | None, batches: list[int]) -> None:
    model, image = Counted(), np.full(SHAPE, 0.5, dtype=np.float32)
    made: list[int] = model.batches  # type: ignore[attr-defined]
    budget = Budget(cancelled=lambda: forwards is not None and len(made) >= forwards)
    findings = Findings(model, image, goal=Goal(label=0), norm="linf", budget=budget)
    findings.judge_grown(image + np.float32(EPS), [level / 255 for level in range(1, 2 * ROWS + 2)])
    assert made == batches


@pytest.mark.parametrize("sign", [-1, 1])
def test_of_rounded_images_the_nearest_come_first(sign: int) -> None:
    model, image = Counted(), np.full(SHAPE, 0.5, dtype=np.float32)
    made: list[int] = model.batches  # type: ignore[attr-defined]
    budget = Budget(cancelled=lambda: len(made) >= 1)
    findings = Findings(model, image, goal=Goal(label=0), norm="linf", budget=budget)
    radii = [level / 255 for level in range(1, 2 * ROWS + 2)]
    findings.judge_grown(image + np.float32(sign * EPS), radii)
    assert max(seen.eps for seen in findings.seen) <= radii[ROWS - 1] + 1e-9
