"""Models that links lead to: served under the links' names, and refused where the manifest has others."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from engines.engine import Engine
from engines.load import EngineOptions, load_engine
from export.bundle import GRADIENT, Bundle
from serving.models.model import Model
from serving.models.registry import ModelRegistry
from serving.probing.process import ProbeProcess
from serving.problems import Problem
from serving.settings import Settings
from tests.serving.color_bundle import write_color_bundle


class _Serving:
    """A registry of the folder `models`, which counts the engines that it starts."""

    def __init__(self, models: Path) -> None:
        self.started: list[Bundle] = []
        self.prepared: list[Bundle] = []
        self.registry = ModelRegistry(Settings(models_dir=models), self._start)

    def follow(self) -> list[Model]:
        """As often as it takes for files at rest to count."""
        return [model for _ in range(2) for model in self.registry.follow(self._prepare)]

    def height(self) -> int:
        """Of the images of the model that answers."""
        return self.registry.get("colors").bundle.manifest.input.height

    def _start(self, bundle: Bundle) -> Engine:
        self.started.append(bundle)
        return load_engine(bundle, EngineOptions(engine="cpu", threads=1))

    def _prepare(self, model: Model) -> None:
        self.prepared.append(model.bundle)


class _Release:
    """A models folder with a link in the path of colors/1, which can be set to another release at once."""

    def __init__(self, home: Path, link: str) -> None:
        self.home = home
        self.models = home / "current" / "models"
        self._link = home / link
        # What has the place of the link in each release.
        self._below = Path("release", *Path(link).parts[1:])
        self._link.parent.mkdir(parents=True, exist_ok=True)

    def point_to(self, release: str, *, side: int = 8) -> Path:
        """Writes a release unless it is there, has the link lead to it, and returns where it lies."""
        place = self.home / "store" / release
        if not place.exists():
            write_color_bundle(self.home / "made" / release / "release" / "models", side=side)
            place.parent.mkdir(exist_ok=True)
            (self.home / "made" / release / self._below).rename(place)
        fresh = self._link.with_name("fresh")
        fresh.symlink_to(place)
        fresh.replace(self._link)
        return place


@pytest.fixture(params=["current", "current/models", "current/models/colors", "current/models/colors/1"])
def release(request: pytest.FixtureRequest, tmp_path: Path) -> _Release:
    return _Release(tmp_path, request.param)


def test_a_model_that_a_link_leads_to_is_loaded_once(release: _Release) -> None:
    release.point_to("sha-1234")
    serving = _Serving(release.models)
    for reference in (None, "colors", "colors/1") * 3:
        model = serving.registry.get(reference)
        assert serving.registry.loaded(reference) is model
        assert serving.follow() == []
    assert len(serving.started) == 1
    assert (set(serving.registry.in_memory()), serving.registry.refused()) == ({"colors/1"}, {})


def test_a_link_that_leads_elsewhere_brings_another_model(release: _Release) -> None:
    release.point_to("sha-1")
    serving = _Serving(release.models)
    assert serving.height() == 8
    gone = release.point_to("sha-2", side=16)
    serving.follow()
    assert serving.height() == 16
    release.point_to("sha-1")
    shutil.rmtree(gone)
    serving.follow()
    assert serving.height() == 8
    assert len(serving.started) == 3


def test_a_model_whose_files_were_moved_is_found_again_and_not_loaded_again(release: _Release) -> None:
    gone = release.point_to("sha-1")
    serving = _Serving(release.models)
    old = serving.registry.get("colors")
    shutil.copytree(gone, gone.with_name("sha-2"))
    release.point_to("sha-2")
    shutil.rmtree(gone)

    assert serving.follow() == [old]
    model = serving.registry.get("colors")
    assert model.bundle.file(GRADIENT).is_file()
    assert model.engine is old.engine
    assert len(serving.started) == 1
    assert serving.prepared == [model.bundle]


def test_a_disk_that_calls_the_old_files_stale_does_not_keep_the_folder_from_being_followed(
    release: _Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = release.point_to("sha-1")
    serving = _Serving(release.models)
    stale = serving.registry.get("colors").bundle.path
    release.point_to("sha-2", side=16)
    shutil.rmtree(gone)
    stat = os.stat

    def answering(path: Any, *args: Any, **options: Any) -> os.stat_result:
        if str(path).startswith(str(stale)):
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), str(path))
        return stat(path, *args, **options)

    monkeypatch.setattr(os, "stat", answering)
    serving.follow()
    assert serving.height() == 16


def test_a_model_that_a_link_leads_to_can_be_probed(release: _Release) -> None:
    release.point_to("sha-1234")
    serving = _Serving(release.models)
    bundle = serving.registry.bundle("colors")
    process = ProbeProcess(Settings(models_dir=release.models, engine="cpu"))
    try:
        process.load(bundle)
        assert process.pid is not None
        shutil.rmtree(bundle.path)
        process.forget(bundle)
        with pytest.raises(Problem, match=r"1(234)? is not a bundle") as caught:
            process.load(bundle)
        assert str(release.home) not in caught.value.detail
    finally:
        process.close()


def test_what_is_wrong_is_said_without_the_path_that_a_link_leads_to(release: _Release) -> None:
    release.point_to("sha-1234")
    (release.models / "colors" / "1" / GRADIENT).unlink()
    serving = _Serving(release.models)
    with pytest.raises(Problem) as caught:
        serving.registry.get("colors")
    assert caught.value.detail.startswith("colors/1/gradient.onnx is missing")


def test_a_link_with_another_name_is_refused(tmp_path: Path) -> None:
    write_color_bundle(tmp_path / "store")
    models = tmp_path / "models"
    models.mkdir()
    (models / "prod").symlink_to(tmp_path / "store" / "colors")
    serving = _Serving(models)
    for _ in range(3):
        with pytest.raises(Problem) as caught:
            serving.registry.get("prod")
        assert caught.value.code == "model_unavailable"
        assert caught.value.detail == (
            "prod/1 holds the manifest of colors/1: move it to a folder <models>/colors/1"
        )
        serving.follow()
    assert serving.started == []
    assert list(serving.registry.refused()) == ["prod/1"]


def test_a_link_with_another_version_is_refused_and_the_one_in_use_goes_on(tmp_path: Path) -> None:
    write_color_bundle(tmp_path)
    serving = _Serving(tmp_path)
    model = serving.registry.get("colors")
    (tmp_path / "colors" / "2").symlink_to("1")
    for _ in range(3):
        assert serving.follow() == []
        assert serving.registry.get("colors") is model
    assert len(serving.started) == 1
    assert serving.registry.refused()["colors/2"].startswith("colors/2 holds the manifest of colors/1")
