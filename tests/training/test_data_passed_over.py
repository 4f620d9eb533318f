"""Image files of types that are not read are counted, so that nobody trains on a part without knowing."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.main import main
from export.manifest import InputSpec
from tests.serving import pictures
from training.data.images import LabelledImages
from training.data.sources import open_images

SPEC = InputSpec(height=32, width=32, resize=32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """60 images that are read, four that are not, and files that are no images."""
    for name in ("a", "b"):
        (tmp_path / "train" / name / "more").mkdir(parents=True)
        for number in range(30):
            pictures.noise((32, 32)).save(tmp_path / "train" / name / f"{number}.png")
    for name in ("a/1.tif", "b/2.TIF", "b/more/3.tif", "b/4.jfif"):
        (tmp_path / "train" / name).write_bytes(b"II*\0")
    for name in (".DS_Store", "._5.tif", "Thumbs.db", "notes.txt", "labels.csv", "6.json", "README"):
        (tmp_path / "train" / "b" / name).write_text("no image", encoding="utf-8")
    return tmp_path


def _opened(folder: Path) -> LabelledImages:
    return open_images(folder, "train", dataset="x", spec=SPEC)


def test_image_files_that_are_not_read_are_counted_by_extension(folder: Path) -> None:
    images = _opened(folder)
    assert len(images) == 60
    assert images.passed_over == {".tif": 3, ".jfif": 1}
    assert images.spread(20).passed_over == images.passed_over


def test_they_are_said_once_at_the_start(folder: Path, tiny_recipe_file: Path) -> None:
    arguments = ["train", str(tiny_recipe_file), "--data-dir", str(folder), "--out", str(folder / "run")]
    changes = ["--set", "optimiser.epochs=2", "--set", "optimiser.batch_size=20"]
    result = CliRunner().invoke(main, [*arguments, *changes, "--device", "cpu"], prog_name="clead")
    assert result.exit_code == 0, result.stderr
    said = (
        "warning: 4 image files are passed over (1 .jfif, 3 .tif): read are .bmp, .jpeg, .jpg, .png, .webp; "
        "convert them if they are to count\n"
    )
    assert result.stderr.count(said) == 1
    assert result.stderr.count("warning") == 1


def test_a_set_of_images_that_are_all_read_has_none(data_dir: Path) -> None:
    assert open_images(data_dir, "train", dataset="cifar10", spec=SPEC).passed_over == {}
