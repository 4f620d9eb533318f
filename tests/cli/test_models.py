"""`clead models`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from export.bundle import Description, load_bundle, resolve_bundle, write_bundle
from tests.cli.conftest import Clead
from tests.serving.color_bundle import write_color_bundle

ROOT = Path(__file__).resolve().parents[2]
BUNDLED = resolve_bundle(ROOT / "models", "clead-cifar10")
VERSION = BUNDLED.name


@pytest.fixture
def models(tmp_path: Path, color_models: Path) -> Path:
    """The bundled model, and the colours, whose second version calls itself the first."""
    folder = tmp_path / "models"
    shutil.copytree(BUNDLED, folder / "clead-cifar10" / VERSION)
    for version in ("1", "2"):
        shutil.copytree(color_models / "colors" / "1", folder / "colors" / version)
    return folder


def test_each_version_has_a_line_with_what_matters(clead: Clead, models: Path) -> None:
    shutil.rmtree(models / "colors" / "2")

    result = clead("models", "--models-dir", models)
    bundled = next(line for line in result.stdout.splitlines() if line.startswith(f"clead-cifar10/{VERSION}"))
    colours = next(line for line in result.stdout.splitlines() if line.startswith("colors/1"))

    assert result.exit_code == 0, result.output
    for word in ("10", "32x32", "linf", "8/255", "69.4%", "33.7%", "clead", "verified"):
        assert word in bundled.split()
    assert colours.split() == ["colors/1", "3", "8x8", "linf", "8/255", "50.0%", "-", "none", "verified"]
    assert "*" not in result.stdout, "with two models, none answers by default"


def test_what_would_not_be_served_is_refused_and_exits_with_1(clead: Clead, models: Path) -> None:
    result = clead("models", "--models-dir", models)
    as_json = clead("models", "--models-dir", models, "--json")
    by_name = {f"{one['name']}/{one['version']}": one for one in json.loads(as_json.stdout)}

    assert (result.exit_code, as_json.exit_code) == (1, 1)
    assert "refused" in result.stdout
    assert "colors/2 would not be served" in result.stdout
    assert "move it to a folder" in by_name["colors/2"]["refused"]
    assert by_name["colors/2"]["verified"] is False
    assert by_name["colors/2"]["classes"] is by_name["colors/2"]["sha256"] is None


def test_json_says_what_the_manifest_says(
    clead: Clead, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLEAD_DEFAULT_MODEL", "clead-cifar10")
    one = json.loads(clead("models", "clead-cifar10", "--models-dir", models, "--json").stdout)
    bundle = load_bundle(BUNDLED)

    assert (one["name"], one["version"], one["sha256"]) == ("clead-cifar10", VERSION, bundle.sha256)
    assert one["verified"] and one["default"] and one["refused"] is None
    assert one["classes"] == list(bundle.manifest.classes)
    assert one["threat"] == {"norm": "linf", "eps": 8 / 255}
    assert one["metrics"] == [metric.model_dump(mode="json") for metric in bundle.manifest.metrics]
    assert one["bytes"] == sum(entry.bytes for entry in bundle.manifest.files.values())


def test_one_model_is_told_in_full(clead: Clead, models: Path) -> None:
    result = clead("models", "clead-cifar10", "--models-dir", models)
    bundle = load_bundle(BUNDLED)

    assert result.exit_code == 0, result.output
    assert bundle.sha256 in result.stdout
    assert bundle.manifest.evaluation_command in result.stdout
    for metric in bundle.manifest.metrics:
        assert f"{metric.accuracy:.1%}" in result.stdout
    for check in bundle.manifest.checks:
        assert check.name in result.stdout
    assert "66.5% to 72.2%" in result.stdout, "the interval of 69.4% on 1000 images"


def test_an_unknown_model_and_an_empty_folder_are_said(clead: Clead, models: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()

    unknown = clead("models", "shapes", "--models-dir", models)
    nothing = clead("models", "--models-dir", empty)

    assert (unknown.exit_code, f"clead-cifar10/{VERSION}" in unknown.stderr) == (1, True)
    assert (nothing.exit_code, "clead export" in nothing.stdout) == (0, True)
    assert json.loads(clead("models", "--models-dir", empty, "--json").stdout) == []


def test_the_only_model_is_marked_as_the_default(clead: Clead, color_models: Path) -> None:
    assert "colors/1 *" in clead("models", "--models-dir", color_models).stdout


def test_a_model_trained_against_nothing_says_so(clead: Clead, tmp_path: Path) -> None:
    first = write_color_bundle(tmp_path / "first")
    files = {name: first.file(name).read_bytes() for name in first.manifest.files}
    fields = first.manifest.model_dump(exclude={"files"}, by_alias=True) | {"threat": None}
    write_bundle(tmp_path / "second" / "colors", Description(**fields), files)

    result = clead("models", "--models-dir", tmp_path / "second")

    assert result.exit_code == 0, result.output
    line = next(line for line in result.stdout.splitlines() if line.startswith("colors/1"))
    assert line.split() == ["colors/1", "*", "3", "8x8", "none", "50.0%", "-", "none", "verified"]
    in_full = clead("models", "colors", "--models-dir", tmp_path / "second", "--json")
    assert json.loads(in_full.stdout)["threat"] is None
