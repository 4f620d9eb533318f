"""A classifier is not trained on images of one class, whatever the names of the classes say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from pyarrow import parquet

from cli.main import main
from export.manifest import InputSpec
from tests.serving import pictures
from tests.training.conftest import TINY
from training.data.images import DataError
from training.data.sources import open_images
from training.recipe import recipe_from
from training.run import training_images

SPEC = InputSpec(height=32, width=32, resize=32)
NAMES = {"names": ["a", "b", "c", "d"]}


def _write(folder: Path, labels: list[int], feature: object = None, *, split: str = "train") -> None:
    """A parquet file of noise with `labels`, whose metadata describe the column by `feature`."""
    image = pictures.encoded(pictures.noise((32, 32)))
    table = pyarrow.table({"img": [image] * len(labels), "label": labels})
    if feature is not None:
        described = {"info": {"features": {"label": feature}}}
        table = table.replace_schema_metadata({"huggingface": json.dumps(described)})
    parquet.write_table(table, folder / f"{split}-0.parquet")


def _train(folder: Path, recipe: Path, *more: str) -> Result:
    arguments = ["train", str(recipe), "--data-dir", str(folder), "--out", str(folder / "run")]
    changes = ["--set", "optimiser.epochs=1", "--set", "optimiser.batch_size=20"]
    for change in more:
        changes += ["--set", change]
    return CliRunner().invoke(main, [*arguments, *changes, "--device", "cpu"], prog_name="clead")


@pytest.mark.parametrize(("names", "said"), [(NAMES, "'d'"), (None, "'3'")])
def test_labels_of_one_class_are_refused_by_column(tmp_path: Path, names: object, said: str) -> None:
    _write(tmp_path, [3] * 40, names)
    with pytest.raises(DataError, match=rf"train-\*\.parquet, column 'label': all images are .*class {said}"):
        open_images(tmp_path, "train", dataset="x", spec=SPEC)


def test_images_of_one_class_are_enough_to_measure_on(tmp_path: Path) -> None:
    _write(tmp_path, [3] * 4, NAMES, split="test")
    assert len(open_images(tmp_path, "test", dataset="x", spec=SPEC)) == 4


def test_a_limit_that_leaves_one_class_is_refused(tmp_path: Path) -> None:
    # Every second image is taken, and those are of one class.
    for number in range(40):
        for name in ("a", "b"):
            (tmp_path / "train" / name).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (32, 32)).save(tmp_path / "train" / "ab"[number > 38] / f"{number}.png")
    data = {**TINY["data"], "dataset": "x", "limit": 20, "holdout": 10}  # type: ignore[dict-item]
    recipe = recipe_from({**TINY, "data": data}, origin="test")
    with pytest.raises(DataError, match=r"train: with data\.limit=20, all images are of the class 'a'"):
        training_images(recipe, tmp_path)


def test_classes_without_an_image_are_said_at_the_start(tmp_path: Path, tiny_recipe_file: Path) -> None:
    _write(tmp_path, [0, 1] * 40, NAMES)
    result = _train(tmp_path, tiny_recipe_file)
    assert result.exit_code == 0, result.stderr
    assert "warning: 2 of the 4 classes have no training image: c, d\n" in result.stderr


def test_a_hold_out_that_leaves_one_class_is_refused_before_any_work(
    tmp_path: Path, tiny_recipe_file: Path
) -> None:
    _write(tmp_path, [0] + [1] * 20, {"names": ["a", "b"]})
    result = _train(tmp_path, tiny_recipe_file, "data.holdout=10", "optimiser.batch_size=8")
    assert result.exit_code == 1
    assert "data.holdout=10 leaves images of the class 'b' only, and training needs two" in result.stderr
    assert "add images of 'a', or lower data.holdout" in result.stderr
    assert not (tmp_path / "run").exists()


def test_classes_all_of_whose_images_are_held_out_are_said_at_the_start(
    tmp_path: Path, tiny_recipe_file: Path
) -> None:
    _write(tmp_path, [0] + [1] * 20 + [2] * 20, NAMES)
    result = _train(tmp_path, tiny_recipe_file, "data.holdout=10")
    assert result.exit_code == 0, result.stderr
    assert "warning: 1 of the 4 classes have no training image: d\n" in result.stderr
    assert "warning: 1 of the 4 classes have all their images held out (data.holdout=10)" in result.stderr
    assert " and none to train on: a; add images of them" in result.stderr


def test_a_hold_out_that_leaves_images_of_each_class_is_not_remarked_upon(
    tmp_path: Path, tiny_recipe_file: Path
) -> None:
    _write(tmp_path, [0, 1] * 40, {"names": ["a", "b"]})
    result = _train(tmp_path, tiny_recipe_file)
    assert result.exit_code == 0, result.stderr
    assert "warning" not in result.stderr


@pytest.mark.parametrize("content", ["[1]", '"x"', '{"info": 3}', '{"info": {"features": []}}', "{"])
def test_metadata_that_are_not_as_hugging_face_writes_them_are_an_error_of_the_file(
    tmp_path: Path, content: str
) -> None:
    _write(tmp_path, [0, 1])
    file = tmp_path / "train-0.parquet"
    table = parquet.read_table(file).replace_schema_metadata({"huggingface": content})
    parquet.write_table(table, file)
    with pytest.raises(DataError, match=r"train-0\.parquet: .*metadata entry 'huggingface'"):
        open_images(tmp_path, "train", dataset="x", spec=SPEC)


@pytest.mark.parametrize("feature", [[1], {"names": [1, 2]}, {"names": 3}, {"names": {"x": "a", "y": "b"}}])
def test_names_that_are_none_are_an_error_of_the_file(tmp_path: Path, feature: Any) -> None:
    _write(tmp_path, [0, 1], feature)
    with pytest.raises(DataError, match=r"train-0\.parquet: .*metadata entry 'huggingface'"):
        open_images(tmp_path, "train", dataset="x", spec=SPEC)
