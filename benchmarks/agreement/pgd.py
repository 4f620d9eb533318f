"""Projected gradient descent at equal steps: ours and three libraries'."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.agreement.attack_code import PROBES, code_digests
from benchmarks.agreement.journal import Journal, Row, continue_journal
from benchmarks.agreement.layout import OURS, pgd_file
from benchmarks.agreement.libraries import LIBRARIES, Attack, library_attacks
from benchmarks.agreement.subject import SEED, Subject, to_numpy
from probes.attacks.pgd import pgd
from probes.objective import untargeted
from probes.threat import Norm, threat_named
from training.classifier import TorchClassifier

_EPS: dict[Norm, float] = {"linf": 8 / 255, "l2": 0.5}
_STEPS = 20
_BATCH = 50
_CODE = (PROBES, "benchmarks/agreement/pgd.py", "benchmarks/agreement/libraries.py")
_ROUNDING = 1e-5
"""How far beyond eps float32 arithmetic may take an image."""


def measure_pgd(subject: Subject, results: Path, *, norm: Norm, images: int, steps: int = _STEPS) -> Journal:
    """Attack the first `images` test images that are right when clean, and note which of them break.

    All attacks take `steps` steps of 2.5 eps / steps on the cross-entropy from one random start, and torch
    judges the images that they return, within eps.

    Raises:
        JournalError: the results that there are were measured with other settings or other code.
    """
    eps = _EPS[norm]
    step_size = 2.5 * eps / steps
    settings = {
        **subject.identity(),
        "norm": norm,
        "eps": eps,
        "steps": steps,
        "step_size": step_size,
        "seed": SEED,
        "libraries": {name: version(name) for name in ("torch", *LIBRARIES.values())},
        "code": code_digests(*_CODE),
    }
    journal = continue_journal(pgd_file(results, norm), settings)
    others = library_attacks(
        subject.network, norm=norm, eps=eps, steps=steps, step_size=step_size, classes=subject.classes
    )
    for places in subject.chosen(images)[len(journal.rows) :].split(_BATCH):
        pixels, labels = subject.images.batch(places, torch.device("cpu"))
        right = subject.answers(pixels) == labels
        attacks = {**our_attacks(subject, places[right], norm=norm, eps=eps, steps=steps), **others}
        rows: list[Row] = [
            {"image": place, "clean": clean}
            for place, clean in zip(places.tolist(), right.tolist(), strict=True)
        ]
        for name, attack in attacks.items():
            torch.manual_seed(SEED + len(journal.rows))
            np.random.seed(SEED + len(journal.rows))
            broken = ~right
            broken[right] = breaks(subject, attack, pixels[right], labels[right], norm=norm, eps=eps)
            for row, flag in zip(rows, broken.tolist(), strict=True):
                row[name] = flag
        journal.append(rows)
        print(f"pgd {norm}: {len(journal.rows)} of {images} images", flush=True)
    return journal


def our_attacks(
    subject: Subject, samples: Tensor, *, norm: Norm, eps: float, steps: int
) -> dict[str, Attack]:
    """Our PGD with its default step size, by its names in `OURS`. It runs all its steps, as the libraries do.

    Args:
        samples: int64[N], which images of the test set it will be given: they key the random starts.
    """
    threat = threat_named(norm)

    def in_torch(images: Tensor, labels: Tensor) -> Tensor:
        objective = untargeted(TorchClassifier(subject.network), labels)
        radii = torch.full((len(images),), eps)
        found: Tensor = pgd(
            objective, images, threat=threat, eps=radii, steps=steps, seed=SEED, samples=samples
        ).images
        return found

    def on_engine(images: Tensor, labels: Tensor) -> Tensor:
        found = pgd(
            untargeted(subject.engine, to_numpy(labels)),
            to_numpy(images),
            threat=threat,
            eps=np.full((len(images),), eps, dtype=np.float32),
            steps=steps,
            seed=SEED,
            samples=to_numpy(samples),
        )
        return torch.from_numpy(found.images)

    return dict(zip(OURS, (in_torch, on_engine), strict=True))


def breaks(
    subject: Subject, attack: Attack, images: Tensor, labels: Tensor, *, norm: Norm, eps: float
) -> Tensor:
    """bool[N]: whether `attack` returns an image within eps and [0, 1] that the network takes for another
    class."""
    if not len(images):
        return torch.zeros(0, dtype=torch.bool)
    found = attack(images, labels).detach()
    inside = threat_named(norm).size(found - images) <= eps * (1 + _ROUNDING) + _ROUNDING / 10
    inside &= ((found >= 0) & (found <= 1)).flatten(1).all(1)
    broken: Tensor = (subject.answers(found) != labels) & inside
    return broken
