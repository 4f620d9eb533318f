"""The smallest l-inf eps of single images: ours and foolbox's FMN, at equal quality."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.timing import interleaved
from engines.engine import Engine
from probes.arrays import Array
from probes.attacks.fmn import fmn
from probes.budget import Budget
from probes.losses import Loss
from probes.objective import untargeted
from probes.probe import probe
from probes.request import ProbeRequest
from probes.threat import Linf

STEP_COUNTS = (10, 20, 30, 50, 75, 100, 150, 200, 300, 500, 1000)
"""Steps that foolbox's FMN is tried with, ascending."""
OUR_STEPS = 20
SETTLED = 1.01


@dataclass(frozen=True, slots=True, kw_only=True)
class SmallestEps:
    """One way of ours beside foolbox's FMN. Seconds are for one image, medians over the images.

    An eps is the geometric mean over the images, so that every image counts by its own ratio.
    `fmn_steps` is the smallest number of steps tried with which FMN's is not larger than ours. Where none is
    enough it is None, and so is the ratio: there is no equal quality. `fmn_eps` and `fmn_seconds` are then
    those of the fewest steps that come within `SETTLED` of the best it reached.
    """

    way: str
    images: int
    our_eps: float
    fmn_eps: float
    fmn_steps: int | None
    our_seconds: float
    fmn_seconds: float
    ratio: float | None


def enough_steps(eps_after: Mapping[int, float], wanted: float) -> int | None:
    """The smallest number of steps after which the eps is not larger than `wanted`."""
    return next((steps for steps, eps in sorted(eps_after.items()) if eps <= wanted), None)


def geometric_mean(values: Sequence[float]) -> float:
    """Infinite if one of `values` is."""
    return math.exp(statistics.fmean(math.log(value) for value in values))


def compare(
    engine: Engine,
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    trained_eps: float,
    rounds: int,
    clock: Callable[[], float],
    step_counts: Sequence[int] = STEP_COUNTS,
) -> Iterator[SmallestEps]:
    """Times both on each of `images`, which `network` gives the classes `labels`.

    Ours are the whole probe (an interval, confirmed on floats and at 8 bits, a curve, checks), and the attack
    alone that it begins with: FMN away from the label.
    """
    from foolbox.attacks.fast_minimum_norm import LInfFMNAttack
    from foolbox.models.pytorch import PyTorchModel

    model = PyTorchModel(network, bounds=(0, 1), device="cpu")
    everyone = list(range(len(images)))

    def foolbox(rows: Sequence[int], steps: int) -> list[float]:
        _, found, succeeded = LInfFMNAttack(steps=steps)(model, images[rows], labels[rows], epsilons=None)
        sizes = (found - images[rows]).abs().amax(dim=(1, 2, 3))
        return torch.where(succeeded, sizes, torch.inf).tolist()

    def whole_probe(row: int) -> float:
        report = probe(engine, _pixels(images, row), ProbeRequest(), trained_eps=trained_eps, budget=Budget())
        return math.inf if report.minimal_eps.flipped is None else report.minimal_eps.flipped

    def fmn_alone(row: int) -> float:
        label = np.asarray([int(labels[row])], dtype=np.int64)
        objective = untargeted(engine, label, loss=Loss.MARGIN)
        return float(fmn(objective, _pixels(images, row)[None], threat=Linf(), steps=OUR_STEPS).size[0])

    theirs = {steps: geometric_mean(foolbox(everyone, steps)) for steps in step_counts}
    for way, ours in {"probe": whole_probe, f"fmn, {OUR_STEPS} steps": fmn_alone}.items():
        our_eps = geometric_mean([ours(row) for row in everyone])
        steps = enough_steps(theirs, our_eps)
        timed = steps or enough_steps(theirs, SETTLED * min(theirs.values())) or step_counts[-1]
        times = []
        for row in everyone:
            actions: dict[str, Callable[[], object]] = {
                "ours": partial(ours, row),
                "foolbox": partial(foolbox, [row], timed),
            }
            times.append(interleaved(actions, rounds=rounds, clock=clock))
        yield SmallestEps(
            way=way,
            images=len(images),
            our_eps=our_eps,
            fmn_eps=theirs[timed],
            fmn_steps=steps,
            our_seconds=statistics.median(time.median("ours") for time in times),
            fmn_seconds=statistics.median(time.median("foolbox") for time in times),
            ratio=None
            if steps is None
            else statistics.median(time.ratio("foolbox", "ours") for time in times),
        )


def _pixels(images: Tensor, row: int) -> Array:
    return images[row].contiguous().numpy()
