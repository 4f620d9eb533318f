from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow
import pytest
import torch
from PIL import Image
from pyarrow import parquet

from engines.preprocess import model_input
from export.manifest import InputSpec
from serving.uploads.images import decode
from tests.serving import pictures
from training.data import images as images_module
from training.data.images import DataError, LabelledImages
from training.data.sources import open_images

SPEC = InputSpec(height=32, width=32, resize=32)
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def _save(path: Path, colour: tuple[int, int, int], size: tuple[int, int] = (32, 32)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)


def test_parquet_gives_pixels_labels_and_class_names(data_dir: Path) -> None:
    images = open_images(data_dir, "train", dataset="cifar10", spec=SPEC)
    assert len(images) == 200
    assert images.classes == CLASSES
    assert images.labels[:5].tolist() == [
        6,
        9,
        9,
        4,
        1,
    ]  # the official order: frog, truck, truck, deer, automobile
    first = parquet.read_table(data_dir / "train-00000-of-00001.parquet").column("img")[0].as_py()["bytes"]
    expected = np.asarray(Image.open(io.BytesIO(first))).transpose(2, 0, 1)
    assert np.array_equal(images.pixels(torch.tensor([0]))[0].numpy(), expected)


def test_batches_are_floats_between_0_and_1(data_dir: Path) -> None:
    images = open_images(data_dir, "test", dataset="cifar10", spec=SPEC)
    batch, labels = images.batch(torch.tensor([3, 1]), torch.device("cpu"))
    assert batch.dtype == torch.float32 and batch.shape == (2, 3, 32, 32)
    assert torch.equal((batch * 255).round().to(torch.uint8), images.pixels(torch.tensor([3, 1])))
    assert labels.tolist() == images.labels[[3, 1]].tolist()


def test_an_image_folder_in_two_sizes(tmp_path: Path) -> None:
    _save(tmp_path / "train" / "red" / "1.png", (200, 0, 0), (100, 40))
    _save(tmp_path / "train" / "blue" / "2.JPG", (0, 0, 200))
    (tmp_path / "train" / "blue" / "notes.txt").write_text("no image")
    images = open_images(tmp_path, "train", dataset="colours", spec=SPEC)
    assert images.classes == ("blue", "red")
    assert images.labels.tolist() == [0, 1]
    red = images.pixels(torch.tensor([1]))[0]
    assert red.shape == (3, 32, 32) and red[0].unique().tolist() == [200]


def test_a_large_set_is_decoded_batch_by_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b"):
        _save(tmp_path / "train" / name / "1.png", (10, 20, 30))
    small = open_images(tmp_path, "train", dataset="x", spec=SPEC).pixels(torch.tensor([0, 1]))
    monkeypatch.setattr(images_module, "RESIDENT_BYTES", 0)
    images = open_images(tmp_path, "train", dataset="x", spec=SPEC)
    (tmp_path / "train" / "b" / "1.png").write_bytes(b"no longer an image")
    assert torch.equal(images.pixels(torch.tensor([0])), small[:1])
    with pytest.raises(DataError, match=r"b/1\.png"):
        images.pixels(torch.tensor([1]))


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    _save(tmp_path / "train" / "a" / "1.png", (1, 2, 3))
    _save(tmp_path / "train" / "b" / "1.png", (1, 2, 3))
    damaged = tmp_path / "train" / "b" / "2.png"
    damaged.write_bytes((tmp_path / "train" / "b" / "1.png").read_bytes()[:60])
    with pytest.raises(DataError, match=r"b/2\.png"):
        open_images(tmp_path, "train", dataset="x", spec=SPEC)


def test_photographs_are_turned_as_their_metadata_says(tmp_path: Path) -> None:
    # A camera held sideways: the left half of the file is the upper half of the picture.
    pixels = np.zeros((32, 32, 3), dtype=np.uint8)
    pixels[:, :16] = 200
    exif = Image.Exif()
    exif[0x0112] = 6
    for name in ("a", "b"):
        (tmp_path / "train" / name).mkdir(parents=True)
        Image.fromarray(pixels).save(tmp_path / "train" / name / "1.png", exif=exif)
    upright = open_images(tmp_path, "train", dataset="x", spec=SPEC).pixels(torch.tensor([0]))[0]
    assert upright[0, :16].eq(200).all() and upright[0, 16:].eq(0).all()


def _photographs() -> dict[str, bytes]:
    """Files of kinds that have more than one way to become RGB."""
    deep = np.linspace(0, 65535, 48 * 40, dtype=np.uint16).reshape(40, 48)
    glass = np.dstack([np.asarray(pictures.noise((48, 40))), np.linspace(0, 255, 1920).reshape(40, 48)])
    palette = pictures.noise((48, 40)).quantize(6)
    return {
        "16 bit.png": pictures.encoded(Image.fromarray(deep)),
        "transparent.png": pictures.encoded(Image.fromarray(glass.astype(np.uint8))),
        "palette.png": pictures.encoded(palette, transparency=b"\x00\x80\xff\x40"),
        "cmyk.jpg": pictures.encoded(pictures.noise((48, 40)).convert("CMYK"), "JPEG"),
        "rotated.jpg": pictures.rotated_by_exif(6),
        "large.jpg": pictures.encoded(pictures.noise((640, 480)), "JPEG"),
    }


@pytest.mark.parametrize("name", _photographs())
def test_training_sees_what_the_server_will_see(tmp_path: Path, name: str) -> None:
    file = _photographs()[name]
    (tmp_path / "train" / "it").mkdir(parents=True)
    (tmp_path / "train" / "it" / name).write_bytes(file)
    _save(tmp_path / "train" / "other" / "1.png", (1, 2, 3))
    parquet.write_table(pyarrow.table({"img": [file], "label": [1]}), tmp_path / "test-0.parquet")
    served = model_input(decode(file, max_pixels=10**6, shorter_side=SPEC.resize), SPEC)
    for split in ("train", "test"):
        images = open_images(tmp_path, split, dataset="x", spec=SPEC)  # type: ignore[arg-type]
        assert np.array_equal(images.batch(torch.tensor([0]), torch.device("cpu"))[0][0].numpy(), served)


@pytest.mark.parametrize("resident", [2**31, 0])
def test_the_digest_of_a_folder_changes_with_its_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, resident: int
) -> None:
    monkeypatch.setattr(images_module, "RESIDENT_BYTES", resident)

    def digest(name: str) -> str:
        return open_images(tmp_path / name, "train", dataset="x", spec=SPEC).digest()

    for name in ("first", "copy", "renamed", "swapped", "moved"):
        for number in range(3):
            _save(tmp_path / name / "train" / "a" / f"{number}.png", (number, 0, 0))
        _save(tmp_path / name / "train" / "b" / "3.png", (9, 9, 9))
    (tmp_path / "renamed" / "train" / "b").rename(tmp_path / "renamed" / "train" / "c")
    # Noise compresses to another size than one colour.
    pictures.noise((32, 32)).save(tmp_path / "swapped" / "train" / "a" / "1.png")
    moved = tmp_path / "moved" / "train"
    (moved / "a" / "2.png").rename(moved / "b" / "2.png")

    assert digest("first") == digest("copy")
    assert len({digest(name) for name in ("first", "renamed", "swapped", "moved")}) == 4


def test_the_digest_sees_one_pixel_one_label_and_the_order(data_dir: Path) -> None:
    images = open_images(data_dir, "train", dataset="cifar10", spec=SPEC)
    pixels, labels = images.pixels(torch.arange(200)).numpy(), images.labels.numpy()

    def digest(pixels: np.ndarray, labels: np.ndarray, classes: tuple[str, ...] = CLASSES) -> str:
        return LabelledImages(pixels, labels, classes, lambda image: np.asarray(image), 32).digest()

    assert digest(pixels, labels) == images.digest()
    brighter, relabelled = pixels.copy(), labels.copy()
    brighter[57, 1, 3, 3] ^= 1
    relabelled[57] = (relabelled[57] + 1) % 10
    order = np.r_[1, 0, 2:200]
    others = [
        digest(brighter, labels),
        digest(pixels, relabelled),
        digest(pixels[order], labels[order]),
        digest(pixels, labels, CLASSES[::-1]),
    ]
    assert len({images.digest(), *others}) == 5


@pytest.mark.parametrize("labels", [[0, None], ["cat", "dog"], [0, -1], []])
def test_labels_that_are_none_are_refused(tmp_path: Path, labels: list[object], data_dir: Path) -> None:
    images = parquet.read_table(data_dir / "train-00000-of-00001.parquet").column("img")[: len(labels)]
    parquet.write_table(pyarrow.table({"img": images, "label": labels}), tmp_path / "train-0.parquet")
    with pytest.raises(DataError, match=r"labels"):
        open_images(tmp_path, "train", dataset="x", spec=SPEC)


def test_a_spread_takes_every_class(data_dir: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        for number in range(5):
            _save(tmp_path / "train" / name / f"{number}.png", (number, 0, 0))
    spread = open_images(tmp_path, "train", dataset="x", spec=SPEC).spread(4)
    assert spread.labels.tolist() == [0, 0, 1, 1]
    assert spread.pixels(torch.arange(4))[:, 0, 0, 0].tolist() == [0, 2, 0, 2]


def test_folders_without_images_or_with_one_class_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds neither train-"):
        open_images(tmp_path, "train", dataset="x", spec=SPEC)
    (tmp_path / "train").mkdir()
    with pytest.raises(DataError, match=r"train holds no image: give each class .*train/<class>/\*\.jpg"):
        open_images(tmp_path, "train", dataset="x", spec=SPEC)
    _save(tmp_path / "train" / "1.png", (1, 2, 3))
    with pytest.raises(DataError, match=r"train holds 1 images that lie in no class: give each class"):
        open_images(tmp_path, "train", dataset="x", spec=SPEC)
    (tmp_path / "train" / "1.png").unlink()
    (tmp_path / "train" / "empty").mkdir()
    with pytest.raises(DataError, match="empty holds no image"):
        open_images(tmp_path, "train", dataset="x", spec=SPEC)
    (tmp_path / "train" / "empty").rmdir()
    _save(tmp_path / "train" / "only" / "1.png", (1, 2, 3))
    with pytest.raises(DataError, match="at least two"):
        open_images(tmp_path, "train", dataset="x", spec=SPEC)


def test_parquet_with_other_columns_or_no_parquet_at_all(tmp_path: Path) -> None:
    parquet.write_table(pyarrow.table({"x": [1], "y": [2]}), tmp_path / "train-0.parquet")
    with pytest.raises(DataError, match="expected img or image"):
        open_images(tmp_path, "train", dataset="x", spec=SPEC)
    (tmp_path / "train-0.parquet").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"cannot read .*train-0\.parquet"):
        open_images(tmp_path, "train", dataset="x", spec=SPEC)
