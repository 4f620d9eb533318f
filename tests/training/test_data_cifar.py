"""CIFAR through torchvision: downloaded where that is wanted, and what is said where it cannot be used."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from export.manifest import InputSpec
from training.data import sources
from training.data.images import DataError
from training.data.sources import open_images

SPEC = InputSpec(height=32, width=32, resize=32)


def test_torchvision_is_asked_to_download_only_what_is_absent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[bool] = []

    def cifar(root: str, *, train: bool, download: bool) -> SimpleNamespace:
        asked.append(download)
        data = np.arange(2 * 32 * 32 * 3, dtype=np.uint8).reshape(2, 32, 32, 3)
        return SimpleNamespace(data=data, targets=[0, 1], classes=["a", "b"])

    monkeypatch.setitem(sources._TORCHVISION, "cifar10", cifar)
    images = open_images(tmp_path, "train", dataset="cifar10", spec=SPEC)
    assert images.pixels(torch.tensor([1])).shape == (1, 3, 32, 32)
    said = capsys.readouterr().err
    assert "nor cifar-10-batches-py/: downloading cifar10 into it" in said and str(tmp_path) in said
    (tmp_path / "cifar-10-batches-py").mkdir()
    open_images(tmp_path, "train", dataset="cifar10", spec=SPEC)
    assert capsys.readouterr().err == ""
    with pytest.raises(
        DataError, match=r"the data folder .*typo does not exist; make it, and cifar10 is down"
    ):
        open_images(tmp_path / "typo", "train", dataset="cifar10", spec=SPEC)
    assert asked == [True, False]


def test_a_failed_download_is_an_error_of_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def cifar(root: str, *, train: bool, download: bool) -> SimpleNamespace:
        raise OSError("no network")

    monkeypatch.setitem(sources._TORCHVISION, "cifar10", cifar)
    with pytest.raises(DataError, match=r"cannot get cifar10 into .*no network"):
        open_images(tmp_path, "train", dataset="cifar10", spec=SPEC)


def test_a_set_that_was_extracted_in_part_is_to_be_removed(tmp_path: Path) -> None:
    # As an extraction that was stopped leaves it.
    (tmp_path / "cifar-10-batches-py").mkdir()
    (tmp_path / "cifar-10-batches-py" / "data_batch_1").write_bytes(b"half of it")
    with pytest.raises(DataError, match=r"cifar-10-batches-py is incomplete or damaged; remove it, and it"):
        open_images(tmp_path, "train", dataset="cifar10", spec=SPEC)


@pytest.mark.parametrize("name", ["roses", "photo.jpg"])
def test_nothing_is_downloaded_to_where_something_else_lies(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setitem(sources._TORCHVISION, "cifar10", lambda root, **_: asked.append(root))
    (tmp_path / name).mkdir()
    with pytest.raises(
        DataError, match=rf"but {name}: .* put them into train/<class>/ .* give an empty folder"
    ):
        open_images(tmp_path, "train", dataset="cifar10", spec=SPEC)
    assert asked == []


def test_a_download_that_was_stopped_is_begun_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def cifar(root: str, **_: object) -> SimpleNamespace:
        return SimpleNamespace(data=np.zeros((2, 32, 32, 3), np.uint8), targets=[0, 1], classes=["a", "b"])

    monkeypatch.setitem(sources._TORCHVISION, "cifar10", cifar)
    for left in ("cifar-10-python.tar.gz", "cifar-100-python.tar.gz", ".DS_Store"):
        (tmp_path / left).write_bytes(b"")
    assert len(open_images(tmp_path, "train", dataset="cifar10", spec=SPEC)) == 2
