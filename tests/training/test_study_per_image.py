"""Which images a run of the study gets right is kept as its evaluation found it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks.methods.per_image import (
    FOLDER,
    PerImageError,
    keep_per_image,
    read_per_image,
    write_per_image,
)
from cli.subject import load_subject
from export.manifest import InputSpec
from training.data.images import LabelledImages
from training.data.sources import open_images
from training.evaluation.evaluate import chosen_images, evaluate
from training.evaluation.figures import Evaluation
from training.evaluation.request import EvaluationRequest
from training.run import train

SLICE = Path(__file__).parents[1] / "data" / "cifar10"
N = 40


@pytest.fixture(scope="module")
def test_set() -> LabelledImages:
    return open_images(SLICE, "test", dataset="cifar10", spec=InputSpec(height=32, width=32, resize=32))


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the run `tiny`."""
    folder = tmp_path_factory.mktemp("work")
    recipe = folder / "tiny.toml"
    recipe.write_text(
        'name = "tiny"\ndata = { dataset = "cifar10", holdout = 20 }\nobjective = { name = "standard" }\n'
        'network = { name = "compact_resnet", options = { widths = [8, 16], blocks = [1, 1] } }\n'
        'optimiser = { epochs = 8, batch_size = 20 }\nselection = { by = "clean" }\n',
        encoding="utf-8",
    )
    train(str(recipe), data_dir=SLICE, out=folder / "tiny", device="cpu")
    return folder


@pytest.fixture(scope="module")
def evaluation(work: Path, test_set: LabelledImages) -> Evaluation:
    subject = load_subject(work / "tiny")
    return evaluate(
        subject.module,
        test_set,
        EvaluationRequest(norm=subject.norm, eps=subject.eps, n=N, attacks=("pgd-50-10",)),
        subject="tiny",
        weights_sha256=subject.weights_sha256,
        dataset="cifar10",
        device=torch.device("cpu"),
    )


def _results(folder: Path, evaluation: Evaluation) -> Path:
    (folder / "tiny.json").write_text(json.dumps({"evaluation": evaluation.to_dict()}), encoding="utf-8")
    return folder


def test_the_images_are_those_of_the_evaluation(
    work: Path, evaluation: Evaluation, test_set: LabelledImages, tmp_path: Path
) -> None:
    keep_per_image("tiny", work, _results(tmp_path, evaluation), test_set)

    kept = read_per_image(tmp_path / FOLDER / "tiny.json", evaluation)
    assert kept is not None
    images, labels = test_set.batch(chosen_images(len(test_set), N, seed=0), torch.device("cpu"))
    with torch.no_grad():
        clean = load_subject(work / "tiny").module(images).argmax(1) == labels
    assert kept.right["clean"] == tuple(clean.tolist())
    accuracies = {figure.name: figure.accuracy for figure in evaluation.figures}
    assert 0.0 < accuracies["pgd-50-10"] < accuracies["clean"]
    assert sum(kept.right["pgd-50-10"]) == round(N * accuracies["pgd-50-10"])
    assert all(was for was, left in zip(*kept.right.values(), strict=True) if left)
    assert kept.provenance["cores"] >= 1


def test_another_accuracy_is_refused(
    work: Path, evaluation: Evaluation, test_set: LabelledImages, tmp_path: Path
) -> None:
    clean, robust = evaluation.figures
    other = replace(evaluation, figures=(clean, replace(robust, accuracy=robust.accuracy + 1 / N)))
    with pytest.raises(PerImageError, match=r"tiny, pgd-50-10: \d+ of 40 images are right, the evaluation"):
        keep_per_image("tiny", work, _results(tmp_path, other), test_set)
    assert not (tmp_path / FOLDER).exists()


def test_other_weights_are_refused(
    work: Path, evaluation: Evaluation, test_set: LabelledImages, tmp_path: Path
) -> None:
    other = replace(evaluation, weights_sha256="0" * 64)
    with pytest.raises(PerImageError, match="other weights"):
        keep_per_image("tiny", work, _results(tmp_path, other), test_set)


def test_what_was_kept_of_other_weights_counts_as_not_kept(
    work: Path, evaluation: Evaluation, test_set: LabelledImages, tmp_path: Path
) -> None:
    keep_per_image("tiny", work, _results(tmp_path, evaluation), test_set)
    file = tmp_path / FOLDER / "tiny.json"
    assert read_per_image(file, replace(evaluation, weights_sha256="0" * 64)) is None
    assert read_per_image(tmp_path / "none.json", evaluation) is None
    kept = read_per_image(file, evaluation)
    assert kept is not None
    fewer = replace(kept, right={"clean": (False,) * N})
    write_per_image(fewer, evaluation, file)
    with pytest.raises(PerImageError, match="tiny, clean: 0 of 40"):
        read_per_image(file, evaluation)
