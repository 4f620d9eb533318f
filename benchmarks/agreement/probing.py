"""Probes of the served model with a large budget: any other class, then every one."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from benchmarks.agreement.subject import to_numpy
from probes.arrays import Array
from probes.budget import Budget
from probes.classifier import Classifier
from probes.probe import probe
from probes.request import ProbeRequest
from training.evaluation.attacks import TestImages

STEPS = 50
RESTARTS = 10
TARGETED_RESTARTS = 2


def run_probes(
    engine: Classifier, test: TestImages, clean: Tensor, *, eps: float, seed: int
) -> dict[str, Tensor]:
    """Probe at `eps` in l-inf with all evidence and, where that finds nothing, towards every other class.

    Args:
        clean: bool[N], the images to attack.

    Returns:
        After either, bool[N]: the images that still stand.
    """
    any_class, every_class = torch.zeros_like(clean), torch.zeros_like(clean)
    for row in clean.nonzero()[:, 0].tolist():
        image, label = to_numpy(test.images[row]), int(test.labels[row])
        request = ProbeRequest(
            eps=(eps,), label=label, steps=STEPS, restarts=RESTARTS, evidence="full", seed=seed
        )
        any_class[row] = not _flips(engine, image, request)
        every_class[row] = bool(any_class[row]) and not _flips_to_any(engine, image, request)
    return {"probe": any_class, "probe of every class": every_class}


def _flips_to_any(engine: Classifier, image: Array, request: ProbeRequest) -> bool:
    order = engine.logits(image[None])[0].argsort()[::-1].tolist()
    towards = replace(request, restarts=TARGETED_RESTARTS, evidence="quick")
    return any(
        _flips(engine, image, replace(towards, target=target)) for target in order if target != request.label
    )


def _flips(engine: Classifier, image: Array, request: ProbeRequest) -> bool:
    report = probe(engine, image, request, trained_eps=None, budget=Budget())
    return report.verdict == "flipped"
