"""Accuracy under our strongest attacks and under AutoAttack, on the same images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.agreement.attack_code import PROBES, code_digests
from benchmarks.agreement.ensemble import APGD_STEPS, PGD_RESTARTS, PGD_STEPS, run_ensemble
from benchmarks.agreement.journal import Journal, continue_journal
from benchmarks.agreement.layout import Arm, strongest_file
from benchmarks.agreement.probing import RESTARTS, STEPS, run_probes
from benchmarks.agreement.subject import SEED, Subject
from training.evaluation.attacks import TestImages
from training.evaluation.autoattack import STANDARD, run_library

EPS = 8 / 255
"""In l-inf."""
Stages = dict[str, Tensor]
"""After each attack, in the order in which they ran, bool[N]: the images that still stand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Attack:
    """One way to attack: `run(subject, test, samples, clean)` on the images where bool[N] `clean` holds.

    `samples` int64[N] are the images' places in the test set, which key random starts.
    """

    run: Callable[[Subject, TestImages, Tensor, Tensor], Stages]
    batch: int
    settings: Mapping[str, Any]
    code: tuple[str, ...]
    """Where what decides the results lies."""


def _autoattack(subject: Subject, test: TestImages, samples: Tensor, clean: Tensor) -> Stages:
    outcome = run_library(
        subject.network,
        test,
        clean,
        STANDARD,
        threat=("linf", EPS),
        classes=subject.classes,
        seed=SEED,
        advance=lambda _: None,
    )
    return {name: stage.standing for name, stage in outcome.stages.items()}


def _ensemble(subject: Subject, test: TestImages, samples: Tensor, clean: Tensor) -> Stages:
    return run_ensemble(subject.network, test, samples, clean, eps=EPS, classes=subject.classes, seed=SEED)


def _probes(subject: Subject, test: TestImages, samples: Tensor, clean: Tensor) -> Stages:
    return run_probes(subject.engine, test, clean, eps=EPS, seed=SEED)


_ATTACKS: dict[Arm, _Attack] = {
    "autoattack": _Attack(
        run=_autoattack,
        batch=100,
        settings={"libraries": {name: version(name) for name in ("torch", "pyautoattack")}},
        code=("training/evaluation/autoattack.py",),
    ),
    "ensemble": _Attack(
        run=_ensemble,
        batch=100,
        settings={"pgd_steps": PGD_STEPS, "pgd_restarts": PGD_RESTARTS, "apgd_steps": APGD_STEPS},
        code=(PROBES, "benchmarks/agreement/ensemble.py", "training/evaluation/attacks.py"),
    ),
    "probe": _Attack(
        run=_probes,
        batch=10,
        settings={"steps": STEPS, "restarts": RESTARTS},
        code=(PROBES, "benchmarks/agreement/probing.py"),
    ),
}


def measure_strongest(subject: Subject, results: Path, *, arm: Arm, images: int) -> Journal:
    """Attack the first `images` test images, those that are right when clean.

    Raises:
        JournalError: the results that there are were measured with other settings or other code.
    """
    chosen, cpu = _ATTACKS[arm], torch.device("cpu")
    settings = {
        **subject.identity(),
        "norm": "linf",
        "eps": EPS,
        "seed": SEED,
        **chosen.settings,
        "code": code_digests(*chosen.code),
    }
    journal = continue_journal(strongest_file(results, arm), settings)
    for places in subject.chosen(images)[len(journal.rows) :].split(chosen.batch):
        pixels, labels = subject.images.batch(places, cpu)
        test = TestImages(images=pixels, labels=labels, device=cpu, batch_size=chosen.batch)
        clean = subject.answers(pixels) == labels
        stages = {"clean": clean, **chosen.run(subject, test, places, clean)}
        journal.append(
            [
                {"image": place, **{name: bool(standing[row]) for name, standing in stages.items()}}
                for row, place in enumerate(places.tolist())
            ]
        )
        print(f"strongest, {arm}: {len(journal.rows)} of {images} images", flush=True)
    return journal
