"""A linear model as the subject of the agreement measurements: its smallest eps is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy.optimize import linprog

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
    """float32[N]: over the other classes, the least that raises their logit to that of the answer. For l-inf
    and l2, the box [0, 1] must be out of reach."""
    logits, rows = MODEL.logits(images), np.arange(len(images))
    labels = logits.argmax(axis=1)
    margins = logits[rows, labels][:, None] - logits
    differences = MODEL.weights[None] - MODEL.weights[labels][:, None]
    if norm == "l1":
        sizes = _shortest_in_l1(margins, differences, images.reshape(len(images), 1, -1))
    else:
        slopes = np.linalg.norm(differences, ord=1 if norm == "linf" else 2, axis=2)
        slopes[rows, labels] = 1.0
        sizes = margins / slopes
    sizes[rows, labels] = np.inf
    return sizes.min(axis=1)


def smallest_targeted_eps(images: Array, targets: Sequence[int]) -> Array:
    """float64[N]: the least in l-inf that raises each image's target to the largest logit, within the box."""
    return np.array(
        [_to_target(image.reshape(-1), target) for image, target in zip(images, targets, strict=True)]
    )


def _to_target(image: Array, target: int) -> float:
    """A linear program over the change of every value and the largest of them."""
    logits = MODEL.logits(image[None])[0]
    behind = logits - logits[target]
    lead = MODEL.weights[target] - MODEL.weights
    values, last = np.eye(len(image)), np.ones((len(image), 1))
    constraints = np.block([[-lead, np.zeros((len(logits), 1))], [values, -last], [-values, -last]])
    limits = np.concatenate([-behind, np.zeros(2 * len(image))])
    box = [*zip(-image, 1 - image, strict=True), (0, None)]
    goal = np.append(np.zeros(len(image)), 1.0)
    return float(linprog(goal, A_ub=constraints, b_ub=limits, bounds=box).fun)


def _shortest_in_l1(margins: Array, slopes: Array, images: Array) -> Array:
    """float32[N, K]: values change as far as the box lets them, those with the steepest slope first."""
    room = np.where(slopes > 0, 1 - images, images)
    steep = np.abs(slopes)
    order = np.argsort(-steep, axis=2)
    room, steep = (np.take_along_axis(values, order, axis=2) for values in (room, steep))
    gains = steep * room
    before = np.cumsum(gains, axis=2) - gains
    part = np.clip((margins[:, :, None] - before) / np.maximum(gains, 1e-30), 0, 1)
    return (part * room).sum(axis=2)


def _never(_: object) -> Array:
    raise AssertionError("the images are decoded already")
