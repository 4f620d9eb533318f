"""A linear model as the subject of the agreement measurements: its smallest eps is known."""

from __future__ import annotations

import numpy as np
import torch

from benchmarks.agreement.subject import Subject
from probes.arrays import Array
from probes.threat import Norm
from tests.probes.models import many_class
from training.data.images import LabelledImages

MODEL = many_class()


def linear_subject(*, count: int, wrong: int = 0) -> Subject:
    """`many_class()` in NumPy and in torch, with images near grey that it is right about, but for the first
    `wrong` of its choice."""
    levels = np.random.default_rng(0).integers(78, 178, size=(count, 3, 4, 4), dtype=np.uint8)
    labels = MODEL.logits(levels / np.float32(255)).argmax(axis=1)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 5))
    network.load_state_dict(
        {"1.weight": torch.from_numpy(MODEL.weights), "1.bias": torch.from_numpy(MODEL.bias)}
    )
    subject = Subject(
        sha256="0" * 64,
        network=network.requires_grad_(False).eval(),
        engine=MODEL,
        classes=5,
        trained_eps={"linf": 0.01},
        images=LabelledImages(levels, labels, "abcde", _never, 4),
    )
    first = subject.chosen(count)[:wrong]
    subject.images.labels[first] = (subject.images.labels[first] + 1) % 5
    return subject


def smallest_eps(images: Array, norm: Norm) -> Array:
    """float32[N]: over the other classes, the least margin over the dual norm of the difference of weights.
    The box [0, 1] must be out of reach."""
    logits, rows = MODEL.logits(images), np.arange(len(images))
    labels = logits.argmax(axis=1)
    margins = logits[rows, labels][:, None] - logits
    differences = MODEL.weights[labels][:, None] - MODEL.weights[None]
    slopes = np.linalg.norm(differences, ord=1 if norm == "linf" else 2, axis=2)
    margins[rows, labels], slopes[rows, labels] = np.inf, 1.0
    return (margins / slopes).min(axis=1)


def _never(_: object) -> Array:
    raise AssertionError("the images are decoded already")
