"""Probes of the served model with a large budget."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.agreement.subject import to_numpy
from probes.budget import Budget
from probes.classifier import Classifier
from probes.probe import probe
from probes.request import ProbeRequest
from training.evaluation.attacks import TestImages

STEPS = 50
RESTARTS = 11
"""The margin, the cross-entropy, and the margin towards each of nine classes."""


def run_probes(
    engine: Classifier, test: TestImages, clean: Tensor, *, eps: float, seed: int
) -> dict[str, Tensor]:
    """Probe at `eps` in l-inf with all evidence.

    Args:
        clean: bool[N], the images to attack.

    Returns:
        bool[N]: the images that still stand.
    """
    standing = torch.zeros_like(clean)
    for row in clean.nonzero()[:, 0].tolist():
        request = ProbeRequest(
            eps=(eps,),
            label=int(test.labels[row]),
            steps=STEPS,
            restarts=RESTARTS,
            evidence="full",
            seed=seed,
        )
        report = probe(engine, to_numpy(test.images[row]), request, trained_eps=None, budget=Budget())
        standing[row] = report.verdict != "flipped"
    return {"probe": standing}
