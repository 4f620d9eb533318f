"""Versions of a model that come, change and go while it is served."""

from __future__ import annotations

import gc
import logging
import shutil
import weakref
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from engines.engine import Engine, EngineError
from engines.load import EngineOptions, load_engine
from export.bundle import GRADIENT, MANIFEST, Bundle
from serving.models.model import Model
from serving.models.registry import ModelRegistry
from serving.problems import Problem
from serving.settings import Settings
from tests.serving.color_bundle import write_color_bundle

Start = Callable[[Bundle], Engine]


def _engine(bundle: Bundle) -> Engine:
    return load_engine(bundle, EngineOptions(engine="cpu", threads=1))


def _serving(folder: Path, start: Start = _engine, **settings: object) -> ModelRegistry:
    """A registry that serves colors/1."""
    write_color_bundle(folder)
    registry = ModelRegistry(Settings.model_validate({"models_dir": folder, **settings}), start)
    assert _version(registry) == "1"
    return registry


def _version(registry: ModelRegistry, reference: str | None = None) -> str:
    return registry.get(reference).bundle.manifest.version


def _follow(registry: ModelRegistry, prepare: Callable[[Model], None] = lambda _: None) -> None:
    """As often as it takes for files at rest to count."""
    for _ in range(2):
        registry.follow(prepare)


def _no_prober(model: Model) -> None:
    raise Problem("model_unavailable", "no gradient")


def _partial(bundle: Bundle) -> Path:
    """Takes a file out of the bundle; it can be moved back from here."""
    aside = bundle.path.parent.parent.parent / "aside"
    bundle.file(GRADIENT).rename(aside)
    return aside


def test_a_new_version_answers_once_it_is_loaded(tmp_path: Path) -> None:
    registry = _serving(tmp_path / "models")
    old = registry.get(None)
    write_color_bundle(tmp_path / "models", version="2")
    prepared: list[Model] = []

    def prepare(model: Model) -> None:
        # Until everything is ready, the old one answers.
        assert _version(registry) == _version(registry, "colors") == "1"
        prepared.append(model)

    assert registry.follow(prepare) == []
    assert registry.follow(prepare) == [old]
    assert _version(registry) == _version(registry, "colors") == "2"
    assert [model.bundle.manifest.version for model in prepared] == ["2"]
    assert registry.current() == {"colors": "colors/2"}
    _follow(registry, prepare)
    assert len(prepared) == 1


def test_the_replaced_engine_ends_with_the_last_request_that_uses_it(tmp_path: Path) -> None:
    registry = _serving(tmp_path)
    in_flight = registry.get(None)
    engine = weakref.ref(in_flight.engine)
    write_color_bundle(tmp_path, version="2")
    _follow(registry)
    assert set(registry.in_memory()) == {"colors/2"}
    assert in_flight.engine.logits(np.zeros((1, 3, 8, 8), np.float32)).shape == (1, 3)

    del in_flight
    gc.collect()
    assert engine() is None


def test_a_version_that_is_asked_for_by_its_number_stays(tmp_path: Path) -> None:
    registry = _serving(tmp_path)
    pinned = registry.get("colors/1")
    write_color_bundle(tmp_path, version="2")
    _follow(registry)

    assert _version(registry) == "2"
    assert registry.get("colors/1") is pinned


def test_a_damaged_version_is_refused_until_it_is_repaired(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("clead"), "propagate", True)
    registry = _serving(tmp_path / "models")
    aside = _partial(bundle := write_color_bundle(tmp_path / "models", version="2"))
    with caplog.at_level(logging.WARNING, logger="clead"):
        _follow(registry)
        _follow(registry)

    assert _version(registry) == _version(registry, "colors") == "1"
    assert list(registry.refused()) == ["colors/2"]
    assert registry.refused()["colors/2"].startswith("colors/2/gradient.onnx is missing")
    # Some versions of pytest keep a record twice.
    (record,) = set(caplog.records)
    assert record.getMessage() == "model version refused"
    with pytest.raises(Problem, match=r"gradient\.onnx"):
        registry.get("colors/2")

    aside.rename(bundle.file(GRADIENT))
    _follow(registry)
    assert _version(registry) == "2"
    assert registry.refused() == {}


def test_a_copy_under_way_is_neither_taken_nor_refused(tmp_path: Path) -> None:
    registry = _serving(tmp_path / "models")
    whole = write_color_bundle(tmp_path / "elsewhere", version="2").path
    copy = tmp_path / "models" / "colors" / "2"
    copy.mkdir()
    # The worst order: the manifest comes first, and every look finds the copy longer than the last one did.
    for file in [whole / MANIFEST, *sorted(set(whole.iterdir()) - {whole / MANIFEST})]:
        shutil.copy(file, copy)
        registry.follow(_no_prober)
        assert (_version(registry), registry.refused()) == ("1", {})

    registry.follow()
    assert _version(registry) == "2"


def test_a_version_whose_engine_does_not_start_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.models.failures.RETRY_S", 0.0)
    tried = []

    def start(bundle: Bundle) -> Engine:
        tried.append(bundle.manifest.version)
        if tried.count("2") in {1, 2}:
            raise EngineError("the GPU is full")
        return _engine(bundle)

    registry = _serving(tmp_path, start)
    write_color_bundle(tmp_path, version="2")
    _follow(registry)
    assert (_version(registry), registry.refused()) == ("1", {"colors/2": "the GPU is full"})
    _follow(registry)
    assert (_version(registry), registry.refused()) == ("2", {})
    assert tried == ["1", "2", "2", "2"]


def test_a_refused_engine_is_left_alone_for_a_while(tmp_path: Path) -> None:
    tried = []

    def start(bundle: Bundle) -> Engine:
        tried.append(bundle.manifest.version)
        if bundle.manifest.version == "2":
            raise EngineError("the GPU is full")
        return _engine(bundle)

    registry = _serving(tmp_path, start)
    write_color_bundle(tmp_path, version="2")
    for _ in range(5):
        _follow(registry)
    assert tried == ["1", "2"]


def test_a_version_that_cannot_be_probed_is_refused(tmp_path: Path) -> None:
    registry = _serving(tmp_path)
    write_color_bundle(tmp_path, version="2")
    _follow(registry, _no_prober)

    assert (_version(registry), registry.refused()) == ("1", {"colors/2": "no gradient"})


@pytest.mark.parametrize("asked_by_number", [False, True])
def test_a_version_that_cannot_be_probed_is_tried_less_and_less_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked_by_number: bool
) -> None:
    now, tried = 1000.0, list[float]()
    for module in ("failures", "references", "verified_bundles"):
        monkeypatch.setattr(f"serving.models.{module}.time", SimpleNamespace(monotonic=lambda: now))

    def prepare(model: Model) -> None:
        tried.append(now)
        _no_prober(model)

    registry = _serving(tmp_path)
    write_color_bundle(tmp_path, version="2")
    for _ in range(100):
        # At any time: before it is refused, while it is left alone, and when it is about to be tried again.
        if asked_by_number:
            assert _version(registry, "colors/2") == "2"
        registry.follow(prepare)
        now += 1
    assert [at - tried[0] for at in tried] == [0, 5, 15, 35, 75]
    assert (_version(registry), registry.refused()) == ("1", {"colors/2": "no gradient"})


def test_a_version_that_cannot_be_probed_answers_who_asks_for_it_by_its_number(tmp_path: Path) -> None:
    registry = _serving(tmp_path)
    write_color_bundle(tmp_path, version="2")
    _follow(registry, _no_prober)
    assert _version(registry, "colors/2") == "2"
    assert registry.refused() == {"colors/2": "no gradient"}


def test_taking_a_version_away_rolls_back(tmp_path: Path) -> None:
    registry = _serving(tmp_path)
    newest = write_color_bundle(tmp_path, version="2").path
    _follow(registry)
    newest.rename(newest.with_name("2.withdrawn"))
    assert _version(registry) == "2"
    _follow(registry)

    assert _version(registry) == "1"
    assert set(registry.in_memory()) == {"colors/1"}


def test_other_files_under_the_same_number_replace_the_model_only_when_they_are_whole(tmp_path: Path) -> None:
    registry = _serving(tmp_path / "models")
    first = registry.get(None)
    aside = _partial(first.bundle)
    _follow(registry)
    assert registry.get(None) is first
    aside.rename(first.bundle.file(GRADIENT))
    _follow(registry)
    assert registry.get(None) is first

    shutil.rmtree(first.bundle.path)
    write_color_bundle(tmp_path / "models", side=16)
    _follow(registry)
    assert registry.get(None).bundle.manifest.input.height == 16


@pytest.mark.parametrize("default", [None, "colors", "colors/1"])
def test_the_default_model_goes_on_answering_whatever_happens_to_the_folder(
    default: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.models.references.RESOLVED_FOR_S", 0.0)
    models = tmp_path / "models"
    registry = _serving(models, default_model=default)
    write_color_bundle(models, name="other")
    assert _version(registry, "other") == "1"
    _follow(registry)
    assert registry.get(None).bundle.manifest.name == "colors"

    shutil.rmtree(models)
    _follow(registry)
    assert registry.get(None).bundle.manifest.name == "colors"
    with pytest.raises(Problem, match="there is no model 'other'"):
        registry.get("other")


def test_a_name_that_nobody_has_asked_for_stands_for_its_newest_version_that_works(tmp_path: Path) -> None:
    write_color_bundle(tmp_path / "models")
    _partial(write_color_bundle(tmp_path / "models", version="2"))
    registry = ModelRegistry(Settings(models_dir=tmp_path / "models"), _engine)

    assert registry.bundle("colors").manifest.version == "1"
    assert _version(registry) == "1"
    assert list(registry.refused()) == ["colors/2"]
