"""Classification without HTTP: what happens when the time is up between two images."""

from __future__ import annotations

from pathlib import Path

import pytest

from engines.onnx_runtime import OnnxRuntimeEngine
from export.bundle import load_bundle
from serving.classifying.classification import predictions, prepare_all
from serving.models.model import Model
from serving.problems import Problem
from tests.serving import pictures


@pytest.fixture
def model(models_dir: Path) -> Model:
    bundle = load_bundle(models_dir / "colors" / "1")
    engine = OnnxRuntimeEngine(bundle)
    return Model(bundle=bundle, engine=engine, info=engine.describe())


@pytest.mark.parametrize("decoded", [0, 1, 2])
def test_no_image_is_begun_once_the_time_is_up(model: Model, decoded: int) -> None:
    asked: list[str] = []
    answers = iter([*["in time"] * decoded, "late"])

    def late() -> bool:
        asked.append(next(answers))
        return asked[-1] == "late"

    # An image that is decoded although it is late would be found broken.
    uploads = [pictures.plain()] * decoded + [b"broken"] * (3 - decoded)

    with pytest.raises(Problem) as caught:
        prepare_all(uploads, model, max_pixels=10_000, late=late)

    assert caught.value.code == "deadline_exceeded"
    assert asked[-1] == "late"


def test_in_time_every_image_is_classified(model: Model) -> None:
    uploads = [pictures.plain(), pictures.plain((0, 200, 0))]

    images = prepare_all(uploads, model, max_pixels=10_000, late=lambda: False)
    found = predictions(model.engine.logits(images), model.classes, top=1)

    assert [prediction["label"] for prediction in found] == ["red", "green"]
