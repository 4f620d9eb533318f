"""Opens a data folder as labelled images, whatever is in it."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow
from PIL import Image
from pyarrow import parquet
from pydantic import TypeAdapter
from torchvision import datasets

from engines.preprocess import model_input
from engines.rgb import upright_rgb
from export.manifest import InputSpec
from training.data.images import DataError, Encoded, LabelledImages

Split = Literal["train", "test"]
READ = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp"})
"""Extensions of the image files that are read."""
_OTHER_IMAGES = frozenset(
    {".tif", ".tiff", ".gif", ".jfif", ".jpe", ".jp2", ".jxl", ".avif", ".heic", ".heif", ".ppm", ".pgm"}
    | {".pbm", ".pnm", ".tga", ".ico", ".svg", ".dng", ".cr2", ".cr3", ".nef", ".arw"}
)
"""Extensions of files that a person takes for images too."""
_TORCHVISION: dict[str, Callable[..., datasets.CIFAR10]] = {
    "cifar10": datasets.CIFAR10,
    "cifar100": datasets.CIFAR100,
}
_TORCHVISION_FOLDERS = {"cifar10": "cifar-10-batches-py", "cifar100": "cifar-100-python"}


def open_images(folder: Path, split: Split, *, dataset: str, spec: InputSpec) -> LabelledImages:
    """The images of one split.

    In this order: parquet files (`train-*.parquet`, in `folder` or in `folder/<dataset>`), an image folder
    (`train/<class>/*.png`), torchvision's CIFAR-10 or CIFAR-100 (downloaded into an empty folder).

    Args:
        spec: how a photograph becomes the model's input; images of the model's size stay as they are.

    Raises:
        DataError: if nothing of these is there, a file is damaged, or there are fewer than two classes: to
            train on, such that have images.
    """
    if not folder.is_dir():
        hint = f"; make it, and {dataset} is downloaded into it" if dataset in _TORCHVISION else ""
        raise DataError(f"the data folder {folder} does not exist{hint}")
    images = _open(folder, split, dataset, spec)
    if len(images.classes) < 2:
        raise DataError(f"{folder}: found only the class {images.classes}; a classifier needs at least two")
    if split == "train":
        check_classes(images)
    return images


def check_classes(images: LabelledImages, *, what: str = "all images") -> None:
    """Whether there is anything to tell apart.

    Args:
        what: of which part of the data this is said.

    Raises:
        DataError: fewer than two classes have images.
    """
    found = images.labels.unique().tolist()
    if len(found) < 2:
        raise DataError(
            f"{images.origin}: {what} are of the class {images.classes[found[0]]!r}; "
            "training needs images of two classes at least"
        )


def _open(folder: Path, split: Split, dataset: str, spec: InputSpec) -> LabelledImages:
    for place in (folder, folder / dataset):
        shards = sorted(place.glob(f"{split}-*.parquet"))
        if shards:
            return _from_parquet(shards, spec)
        if (place / split).is_dir():
            return _from_folder(place / split, spec)
    if dataset in _TORCHVISION:
        return _from_torchvision(folder, split, dataset, spec)
    raise DataError(
        f"{folder} holds neither {split}-*.parquet nor a folder {split}/<class>/ of images, "
        f"and {dataset!r} is not one of torchvision's: {', '.join(_TORCHVISION)}"
    )


def _decoder(spec: InputSpec) -> Callable[[Image.Image], np.ndarray]:
    def decode(image: Image.Image) -> np.ndarray:
        photo = upright_rgb(image, shorter_side=spec.resize)
        pixels: np.ndarray = np.rint(model_input(photo, spec) * 255.0).astype(np.uint8)
        return pixels

    return decode


def _from_torchvision(folder: Path, split: Split, dataset: str, spec: InputSpec) -> LabelledImages:
    name = _TORCHVISION_FOLDERS[dataset]
    present = (folder / name).is_dir()
    if not present:
        absent = f"{folder} holds neither {split}-*.parquet nor {split}/<class>/ nor {name}/"
        if others := _of_others(folder):
            raise DataError(
                f"{absent}, but {', '.join(others[:5])}: to train on images of your own, put them into "
                f"train/<class>/ and test/<class>/; to get {dataset}, give an empty folder"
            )
        sys.stderr.write(f"{absent}: downloading {dataset} into it (170 MB)\n")
    try:
        source = _TORCHVISION[dataset](str(folder), train=split == "train", download=not present)
    except (OSError, RuntimeError) as error:
        # torchvision's own advice is an argument that nobody can give here.
        if present and isinstance(error, RuntimeError):
            raise DataError(
                f"{folder / name} is incomplete or damaged; remove it, and it is downloaded again"
            ) from error
        raise DataError(f"cannot get {dataset} into {folder}: {error}") from error
    labels = np.asarray(source.targets)
    decode = _decoder(spec)
    if spec.height == spec.width == 32:
        pixels = source.data.transpose(0, 3, 1, 2)
    else:
        pixels = np.stack([decode(Image.fromarray(image)) for image in source.data])
    return LabelledImages(pixels, labels, source.classes, decode, spec.height, origin=str(folder))


def _of_others(folder: Path) -> list[str]:
    """What is visible in the folder, but for what torchvision keeps there of this data set or its like."""
    return sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith((".", "cifar-")))


def _from_folder(folder: Path, spec: InputSpec) -> LabelledImages:
    entries = list(folder.iterdir())
    classes = sorted(entry.name for entry in entries if entry.is_dir())
    if not classes:
        loose = sum(entry.suffix.lower() in READ for entry in entries)
        holds = f"{loose} images that lie in no class" if loose else "no image"
        raise DataError(
            f"{folder} holds {holds}: give each class a folder of its own, with its images in it "
            f"({folder}/<class>/*.jpg)"
        )
    files: list[Encoded] = []
    labels: list[int] = []
    passed_over: Counter[str] = Counter()
    for label, name in enumerate(classes):
        there = sorted((folder / name).rglob("*"))
        found = [file for file in there if file.suffix.lower() in READ]
        if not found:
            raise DataError(f"{folder / name} holds no image; accepted are {', '.join(sorted(READ))}")
        files += [Encoded(str(file), file) for file in found]
        labels += [label] * len(found)
        passed_over.update(_unread(there))
    return LabelledImages(
        files,
        np.asarray(labels),
        classes,
        _decoder(spec),
        spec.height,
        origin=str(folder),
        passed_over=passed_over,
    )


def _unread(files: Iterable[Path]) -> Iterator[str]:
    """The extensions of those that are images, of types that are not read. Hidden files do not count."""
    for file in files:
        kind = file.suffix.lower()
        if kind in _OTHER_IMAGES and not file.name.startswith("."):
            yield kind


def _from_parquet(shards: Sequence[Path], spec: InputSpec) -> LabelledImages:
    encoded: list[Encoded] = []
    labels: list[int] = []
    names: list[str] | None = None
    for shard in shards:
        try:
            table = parquet.read_table(shard)
        except (OSError, pyarrow.ArrowException) as error:
            raise DataError(f"cannot read {shard}: {error}") from error
        image_column = next((name for name in ("img", "image") if name in table.column_names), None)
        label_column = next((name for name in ("label", "fine_label") if name in table.column_names), None)
        if image_column is None or label_column is None:
            raise DataError(
                f"{shard} has the columns {table.column_names}; "
                "expected img or image (a struct with bytes) and label"
            )
        names = names or _class_names(shard, table.schema, label_column)
        for row, image in enumerate(table.column(image_column).to_pylist()):
            content = image.get("bytes") if isinstance(image, dict) else image
            if not isinstance(content, bytes):
                raise DataError(f"{shard}, row {row}: {image_column} holds no encoded image bytes")
            encoded.append(Encoded(f"{shard}, row {row}", content))
        labels += table.column(label_column).to_pylist()
    if not labels or not all(isinstance(label, int) for label in labels):
        raise DataError(
            f"{shards[0].parent}: the labels must be whole numbers, at least one; some are not, or none is"
        )
    classes = names or [str(label) for label in range(max(labels) + 1)]
    if min(labels) < 0 or max(labels) >= len(classes):
        raise DataError(
            f"{shards[0].parent}: labels from {min(labels)} to {max(labels)} "
            f"do not fit {len(classes)} classes"
        )
    origin = f"{shards[0].parent}/{shards[0].name.partition('-')[0]}-*.parquet, column {label_column!r}"
    return LabelledImages(encoded, np.asarray(labels), classes, _decoder(spec), spec.height, origin=origin)


def _class_names(shard: Path, schema: pyarrow.Schema, column: str) -> list[str] | None:
    """Class names from the `huggingface` entry of the schema's metadata, if it has one."""
    text = (schema.metadata or {}).get(b"huggingface")
    if text is None:
        return None
    try:
        feature = json.loads(text).get("info", {}).get("features", {}).get(column, {})
        names = feature.get("names")
        if isinstance(names, dict):
            names = [names[key] for key in sorted(names, key=int)]
        return TypeAdapter(list[str] | None).validate_python(names, strict=True) or None
    except (AttributeError, TypeError, ValueError) as error:
        raise DataError(
            f"{shard}: the class names in its schema's metadata entry 'huggingface' cannot be read "
            f"({error}); write it as the library datasets does, or take it out"
        ) from error
