"""Foolbox's searches of the smallest eps, and what torch and the engine that serves say of their finds."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from benchmarks.agreement.journal import Row
from benchmarks.agreement.layout import Search
from benchmarks.agreement.minimum_norm import minimum_norm_attacks
from benchmarks.agreement.own_search import Aim
from benchmarks.agreement.subject import Subject, to_numpy
from probes.threat import threat_named

_OUTWARDS = (1.0, 1.0001, 1.001)
"""Foolbox's examples lie so near the boundary that the engine's other rounding takes some of them back: it is
asked about them so many times as far away as well."""


def search_with_foolbox(
    subject: Subject, ours: list[Row], search: Search, *, evaluations: int, seed: int
) -> list[Row]:
    """What each of foolbox's attacks finds for the images of our rows, with the same labels and targets.

    Args:
        evaluations: that each attack gets for an image, at least, in gradients.

    Returns:
        Rows of, by attack, the distance that torch confirms (`found`), that at which the engine does
        (`served`), and the evaluations that an image took.
    """
    places, labels = (torch.tensor([row[name] for row in ours]) for name in ("image", "label"))
    pixels, _ = subject.images.batch(places, torch.device("cpu"))
    targets = torch.tensor([row["target"] for row in ours]) if search.targeted else None
    aim = Aim(label=labels, target=targets)
    rows: list[Row] = [
        {"image": place, "found": {}, "served": {}, "evaluations": {}} for place in places.tolist()
    ]
    attacks = minimum_norm_attacks(
        subject.network, norm=search.norm, evaluations=evaluations, targeted=search.targeted
    )
    for name, attack in attacks.items():
        torch.manual_seed(seed)
        images, taken = attack(pixels, labels if targets is None else targets)
        confirmed = aim.reached(subject.answers(images))
        sizes = torch.where(confirmed, threat_named(search.norm).size(images - pixels), torch.inf)
        on_engine = _on_engine(subject, pixels, images, aim, search)
        for row, size, served in zip(rows, sizes.tolist(), on_engine.tolist(), strict=True):
            row["found"][name] = _finite(size)
            row["served"][name] = _finite(served)
            row["evaluations"][name] = taken / len(ours)
    return rows


def _on_engine(subject: Subject, pixels: Tensor, images: Tensor, aim: Aim, search: Search) -> Tensor:
    """float32[N]: how far away the engine that serves confirms them, infinite where it does not."""
    nearest = torch.full((len(images),), torch.inf)
    for factor in _OUTWARDS:
        points = (pixels + factor * (images - pixels)).clamp(0, 1) if factor > 1 else images
        answers = torch.from_numpy(subject.engine.logits(to_numpy(points)).argmax(axis=1))
        sizes = threat_named(search.norm).size(points - pixels)
        nearest = torch.where(aim.reached(answers), nearest.minimum(sizes), nearest)
    return nearest


def _finite(size: float) -> float | None:
    return size if math.isfinite(size) else None
