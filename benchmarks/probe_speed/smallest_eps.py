"""The smallest l-inf eps of single images: our probe and foolbox's FMN, at equal quality."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from benchmarks.probe_speed.timing import interleaved
from engines.engine import Engine
from probes.budget import Budget
from probes.probe import probe
from probes.request import ProbeRequest

STEP_COUNTS = (10, 20, 30, 50, 75, 100, 150, 200, 300, 500, 1000)
"""Steps that FMN is tried with, in this order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SmallestEps:
    """What both found and took. Medians over the images; seconds are for one image.

    `fmn_steps` is the smallest of `STEP_COUNTS` with which FMN's median eps is not larger than ours; None if
    none is enough, and then its times are those of the most steps tried.
    """

    images: int
    our_eps: float
    fmn_eps: float
    fmn_steps: int | None
    our_seconds: float
    fmn_seconds: float
    ratio: float


def enough_steps(eps_after: Callable[[int], float], wanted: float) -> tuple[int | None, float]:
    """The smallest of `STEP_COUNTS` after which `eps_after` is not larger than `wanted`, and that eps."""
    reached = float("inf")
    for steps in STEP_COUNTS:
        reached = eps_after(steps)
        if reached <= wanted:
            return steps, reached
    return None, reached


def compare(
    engine: Engine,
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    trained_eps: float,
    rounds: int,
    clock: Callable[[], float],
) -> SmallestEps:
    """Times both on each of `images`, which `network` gives the classes `labels`."""
    from foolbox.attacks.fast_minimum_norm import LInfFMNAttack
    from foolbox.models.pytorch import PyTorchModel

    model = PyTorchModel(network, bounds=(0, 1), device="cpu")

    def ours(row: int) -> float:
        pixels = images[row].contiguous().numpy()
        report = probe(engine, pixels, ProbeRequest(), trained_eps=trained_eps, budget=Budget())
        return _or_infinite(report.minimal_eps.flipped)

    def fmn(rows: Sequence[int], steps: int) -> list[float]:
        _, found, succeeded = LInfFMNAttack(steps=steps)(model, images[rows], labels[rows], epsilons=None)
        sizes = (found - images[rows]).abs().amax(dim=(1, 2, 3))
        return torch.where(succeeded, sizes, torch.inf).tolist()

    everyone = list(range(len(images)))
    our_eps = statistics.median(ours(row) for row in everyone)
    steps, fmn_eps = enough_steps(lambda number: statistics.median(fmn(everyone, number)), our_eps)
    timed = steps or STEP_COUNTS[-1]
    times = []
    for row in everyone:
        actions: dict[str, Callable[[], object]] = {
            "ours": partial(ours, row),
            "foolbox": partial(fmn, [row], timed),
        }
        times.append(interleaved(actions, rounds=rounds, clock=clock))
    return SmallestEps(
        images=len(images),
        our_eps=our_eps,
        fmn_eps=fmn_eps,
        fmn_steps=steps,
        our_seconds=statistics.median(time.median("ours") for time in times),
        fmn_seconds=statistics.median(time.median("foolbox") for time in times),
        ratio=statistics.median(time.ratio("foolbox", "ours") for time in times),
    )


def _or_infinite(eps: float | None) -> float:
    return float("inf") if eps is None else eps
