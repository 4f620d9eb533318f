"""Which model answers when a request names none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from export.bundle import MANIFEST, BundleNotFoundError
from serving.models.model import default_reference
from serving.settings import Settings
from tests.serving.color_bundle import write_color_bundle


def _without_threat(folder: Path) -> None:
    manifest = folder / MANIFEST
    manifest.write_text(json.dumps(json.loads(manifest.read_bytes()) | {"threat": None}))


def test_the_only_model_or_the_only_robust_one(tmp_path: Path) -> None:
    settings = Settings(models_dir=tmp_path)
    _without_threat(write_color_bundle(tmp_path, name="plain").path)
    assert default_reference(settings) == "plain"

    _without_threat(write_color_bundle(tmp_path, name="hardened", version="1").path)
    with pytest.raises(BundleNotFoundError, match="holds hardened, plain: set CLEAD_DEFAULT_MODEL"):
        default_reference(settings)

    # The newest version is what would answer.
    write_color_bundle(tmp_path, name="hardened", version="2")
    assert default_reference(settings) == "hardened"

    second = write_color_bundle(tmp_path, name="second").path
    with pytest.raises(BundleNotFoundError, match="hardened, plain, second"):
        default_reference(settings)

    (second / MANIFEST).write_text("{")
    assert default_reference(settings) == "hardened"


def test_the_setting_decides(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_color_bundle(tmp_path, name=name)
    assert default_reference(Settings(models_dir=tmp_path, default_model="b/1")) == "b/1"


def test_without_a_model_it_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(BundleNotFoundError, match="holds no model: export one"):
        default_reference(Settings(models_dir=tmp_path))
