"""The smallest eps that flips: our search against foolbox's best attack with ten times the evaluations."""

from __future__ import annotations

import math
from importlib.metadata import version
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from torch import Tensor

from benchmarks.agreement.journal import Journal, Row, continue_journal, read_journal
from benchmarks.agreement.layout import our_smallest_file, their_smallest_file
from benchmarks.agreement.minimum_norm import minimum_norm_attacks
from benchmarks.agreement.ratios import evaluations
from benchmarks.agreement.subject import SEED, Subject, to_numpy
from probes.arrays import Array
from probes.budget import Budget
from probes.classifier import Classifier, Gradient
from probes.probe import probe
from probes.request import ProbeRequest
from probes.threat import Norm, threat_named

_BATCH = 10
_MULTIPLE = 10.0


def measure_smallest(
    subject: Subject, results: Path, *, norm: Norm, images: int, multiple: float = _MULTIPLE
) -> tuple[Journal, Journal]:
    """Search the smallest eps that changes the prediction of each of the first `images` test images.

    Args:
        multiple: how many times our mean number of evaluations each attack of foolbox gets, which are
            gradients, and forward passes as the part of a gradient that they cost.

    Raises:
        JournalError: the results that there are were measured with other settings.
    """
    mine = _measure_ours(subject, our_smallest_file(results, norm), norm=norm, images=images)
    path = their_smallest_file(results, norm)
    if path.exists():
        # More images go on with the steps that the first ones had.
        steps = read_journal(path).settings["steps"]
    else:
        steps = math.ceil(multiple * fmean(evaluations(row) for row in mine.rows[:images]))
    return mine, _measure_foolbox(subject, path, norm=norm, images=images, steps=steps, multiple=multiple)


def _measure_ours(subject: Subject, path: Path, *, norm: Norm, images: int) -> Journal:
    journal = continue_journal(path, {**subject.identity(), "norm": norm, "seed": SEED})
    for place in subject.chosen(images)[len(journal.rows) :].tolist():
        pixels, _ = subject.images.batch(torch.tensor([place]), torch.device("cpu"))
        journal.append([{"image": place, **_search(subject, pixels, norm)}])
        print(f"smallest eps, {norm}, ours: {len(journal.rows)} of {images} images", flush=True)
    return journal


def _search(subject: Subject, image: Tensor, norm: Norm) -> Row:
    label = int(subject.answers(image)[0])
    served = Recorder(subject.engine, label)
    report = probe(
        served,
        to_numpy(image),
        ProbeRequest(norm=norm, label=label, seed=SEED),
        trained_eps=subject.trained_eps.get(norm),
        budget=Budget(),
    )
    reported = report.minimal_eps.flipped
    return {
        "held": report.minimal_eps.held,
        "flipped": reported,
        "confirmed": None if reported is None else _confirmed(subject, served, image, reported, norm),
        "gradient_evaluations": served.gradients,
        "forward_evaluations": served.forwards,
    }


class Recorder:
    """A classifier that counts the passes it is asked for, one an image, and keeps every image that it
    answers otherwise than `label` for."""

    def __init__(self, classifier: Classifier, label: int) -> None:
        self._classifier, self.label = classifier, label
        self.gradients = 0
        self.forwards = 0
        """Those without a gradient."""
        self.flips: list[Array] = []
        """float32[C, H, W] each."""

    def logits(self, images: Array) -> Array:
        logits = self._classifier.logits(images)
        self.forwards += len(images)
        self._keep(images, logits)
        return logits

    def gradient(self, images: Array, labels: Array, targets: Array, losses: Array) -> Gradient:
        found = self._classifier.gradient(images, labels, targets, losses)
        self.gradients += len(images)
        self._keep(images, found.logits)
        return found

    def _keep(self, images: Array, logits: Array) -> None:
        self.flips.extend(np.array(images[logits.argmax(axis=1) != self.label]))


def _confirmed(
    subject: Subject, served: Recorder, image: Tensor, reported: float, norm: Norm
) -> float | None:
    """The distance of the nearest example that torch takes for another class too; none is nearer than the
    reported one."""
    flips = torch.from_numpy(np.stack(served.flips))
    sizes = threat_named(norm).size(flips - image)
    counts = (subject.answers(flips) != served.label) & (sizes >= reported * (1 - 1e-6))
    return float(sizes[counts].min()) if bool(counts.any()) else None


def _measure_foolbox(
    subject: Subject, path: Path, *, norm: Norm, images: int, steps: int, multiple: float
) -> Journal:
    settings = {
        **subject.identity(),
        "norm": norm,
        "multiple": multiple,
        "steps": steps,
        "libraries": {name: version(name) for name in ("torch", "foolbox")},
    }
    journal = continue_journal(path, settings)
    attacks = minimum_norm_attacks(subject.network, norm=norm, steps=steps)
    for places in subject.chosen(images)[len(journal.rows) :].split(_BATCH):
        pixels, _ = subject.images.batch(places, torch.device("cpu"))
        labels = subject.answers(pixels)
        rows: list[Row] = [{"image": place} for place in places.tolist()]
        for name, attack in attacks.items():
            torch.manual_seed(SEED + len(journal.rows))
            found = attack(pixels, labels)
            sizes = threat_named(norm).size(found - pixels).tolist()
            flipped = (subject.answers(found) != labels).tolist()
            for row, size, flag in zip(rows, sizes, flipped, strict=True):
                row[name] = size if flag else None
        journal.append(rows)
        print(f"smallest eps, {norm}, foolbox: {len(journal.rows)} of {images} images", flush=True)
    return journal
