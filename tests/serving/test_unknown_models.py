"""Names of models that do not exist cost no walk through the folder, and hide none that is added."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from export import bundle as bundle_module
from export.bundle import MANIFEST
from serving.models import references
from serving.models.registry import ModelRegistry
from serving.problems import Problem
from serving.settings import Settings


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A folder of 20 versions of one model, which nobody verifies."""
    for version in range(1, 21):
        _add(tmp_path, "colors", str(version))
    return tmp_path


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders that are listed, one after the other, and a clock that stands still."""
    folders: list[Path] = []
    entries = bundle_module._entries

    def counting(folder: Path) -> list[str]:
        folders.append(folder)
        return entries(folder)

    monkeypatch.setattr(bundle_module, "_entries", counting)
    monkeypatch.setattr(references, "time", SimpleNamespace(monotonic=lambda: 1000.0))
    return folders


def _add(models: Path, name: str, version: str) -> None:
    folder = models / name / version
    folder.mkdir(parents=True)
    (folder / MANIFEST).write_text("{}")


def _registry(models: Path) -> ModelRegistry:
    def unused(_: Any) -> Any:
        raise AssertionError("nothing is loaded")

    return ModelRegistry(Settings(models_dir=models), unused)


def _refused(registry: ModelRegistry, reference: str) -> str:
    with pytest.raises(Problem) as caught:
        registry.loaded(reference)
    assert caught.value.code == "model_not_found"
    return caught.value.detail


def test_many_names_that_do_not_exist_take_one_walk_through_the_folder(
    models: Path, looks: list[Path]
) -> None:
    registry = _registry(models)
    details = {_refused(registry, f"colours{number}/1") for number in range(100)}
    assert all("accepted are: colors/1, colors/2, " in detail for detail in details)
    assert sum(folder in (models, models / "colors") for folder in looks) <= 2


def test_who_follows_the_folder_has_walked_for_them(models: Path, looks: list[Path]) -> None:
    registry = _registry(models)
    registry.follow()
    looks.clear()
    for number in range(100):
        _refused(registry, f"colours{number}")
        _refused(registry, f"colors/{100 + number}")
    assert not {models, models / "colors"}.intersection(looks)


def test_a_model_that_was_asked_for_in_vain_is_there_as_soon_as_it_is_added(
    models: Path, looks: list[Path]
) -> None:
    registry = _registry(models)
    for reference in ("colours", "colours/1", "colors/21"):
        _refused(registry, reference)
        _add(models, *(reference if "/" in reference else "colours/7").split("/"))
        assert registry.loaded(reference) is None


def test_names_that_do_not_exist_are_not_remembered(models: Path, looks: list[Path]) -> None:
    registry = _registry(models)
    registry.loaded("colors/1")
    for number in range(1000):
        _refused(registry, f"{number}")
    assert list(registry._references._found) == ["colors/1"]
