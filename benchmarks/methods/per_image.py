"""Which test images a run gets right, clean and under PGD: what a comparison on the same images needs.

AutoAttack is left out: it takes as long again as the whole evaluation.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.machine import provenance
from cli.subject import Subject, load_subject
from training.classifier import TorchClassifier
from training.data.images import LabelledImages
from training.evaluation.attacks import TestImages, correct, pgd_attack, survive
from training.evaluation.differentiable import Differentiable
from training.evaluation.evaluate import chosen_images
from training.evaluation.figures import Evaluation, evaluation_from_json

FOLDER = "per_image"
"""Of the files, below that of the results."""
CLEAN, PGD = "clean", "pgd-50-10"
_STEPS, _RESTARTS = 50, 10


class PerImageError(ValueError):
    """Flags that are not those of the evaluation they should go with; the message says how they differ."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PerImage:
    """By the name of a figure, for each image of an evaluation, whether it is right."""

    right: Mapping[str, tuple[bool, ...]]
    provenance: Mapping[str, Any]


def measure_per_image(subject: Subject, test: LabelledImages, evaluation: Evaluation) -> PerImage:
    """Clean and PGD-50-10 once more, on the images of `evaluation` and with its seed.

    Raises:
        PerImageError: `subject` has other weights, or other accuracies come out.
    """
    if subject.weights_sha256 != evaluation.weights_sha256:
        raise PerImageError(f"{evaluation.subject}: the checkpoint has other weights than were evaluated")
    device = torch.device("cpu")
    module = subject.module.to(memory_format=torch.channels_last).float().eval()
    classifier = TorchClassifier(Differentiable(module).eval())
    pixels, labels = test.batch(chosen_images(len(test), evaluation.n, seed=evaluation.seed), device)
    images = TestImages(images=pixels, labels=labels, device=device, batch_size=250)
    clean = correct(classifier, images)
    threat = subject.norm, subject.eps
    attack = pgd_attack(classifier, threat, steps=_STEPS, restarts=_RESTARTS, seed=evaluation.seed)
    left = survive(classifier, images, clean, attack, lambda _: None)
    measured = PerImage(
        right={CLEAN: _flags(clean), PGD: _flags(left)},
        provenance=provenance(threads=torch.get_num_threads()),
    )
    check_per_image(measured, evaluation)
    return measured


def check_per_image(flags: PerImage, evaluation: Evaluation) -> None:
    """
    Raises:
        PerImageError: there are not as many right as `evaluation` says.
    """
    accuracies = {figure.name: figure.accuracy for figure in evaluation.figures}
    for name, right in flags.right.items():
        stated = round(accuracies[name] * evaluation.n)
        if len(right) != evaluation.n or sum(right) != stated:
            raise PerImageError(
                f"{evaluation.subject}, {name}: {sum(right)} of {len(right)} images are right, "
                f"the evaluation says {stated} of {evaluation.n}"
            )


def keep_per_image(name: str, work: Path, results: Path, test: LabelledImages) -> None:
    """Measure the run `name`, whose folder lies in `work` and whose file in `results`, and write its flags.

    Args:
        test: the images that it was evaluated on, among all of the test set.

    Raises:
        PerImageError: as `measure_per_image` does.
    """
    content = json.loads((results / f"{name}.json").read_bytes())
    evaluation = evaluation_from_json(json.dumps(content["evaluation"]))
    measured = measure_per_image(load_subject(work / name), test, evaluation)
    write_per_image(measured, evaluation, results / FOLDER / f"{name}.json")


def write_per_image(measured: PerImage, evaluation: Evaluation, file: Path) -> None:
    """A string of 0 and 1 for each figure, with the weights that they belong to."""
    content = {
        "weights_sha256": evaluation.weights_sha256,
        "right": {name: "".join("01"[flag] for flag in flags) for name, flags in measured.right.items()},
        "provenance": measured.provenance,
    }
    file.parent.mkdir(exist_ok=True)
    unfinished = file.with_name(f".{file.name}.unfinished")
    unfinished.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    unfinished.replace(file)


def read_per_image(file: Path, evaluation: Evaluation) -> PerImage | None:
    """What `write_per_image` wrote; None if there is no such file, or it belongs to other weights.

    Raises:
        PerImageError: it does not agree with `evaluation`.
    """
    if not file.is_file():
        return None
    content = json.loads(file.read_bytes())
    if content["weights_sha256"] != evaluation.weights_sha256:
        return None
    right = {name: tuple(flag == "1" for flag in flags) for name, flags in content["right"].items()}
    found = PerImage(right=right, provenance=content["provenance"])
    check_per_image(found, evaluation)
    return found


def _flags(flags: Tensor) -> tuple[bool, ...]:
    return tuple(bool(flag) for flag in flags)
