"""`clead tensorrt`. TensorRT itself is pretended: what it is asked for is tested in tests/engines."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import export.tensorrt
from engines.doctor import diagnose
from engines.engine import EngineInfo
from export.bundle import Bundle
from tests.cli.conftest import Clead

BUILT = EngineInfo(
    engine="onnxruntime", provider="TensorrtExecutionProvider", device="cuda", version="9.9", reason=None
)


@pytest.fixture
def asked(clead: Clead, monkeypatch: pytest.MonkeyPatch, color_models: Path) -> list[Bundle]:
    """The bundles that engines were built of, by a `clead` that knows the colour model."""
    bundles: list[Bundle] = []

    def build(bundle: Bundle) -> export.tensorrt.TensorRtBuild:
        bundles.append(bundle)
        return export.tensorrt.TensorRtBuild(info=BUILT, folder=Path("cache") / bundle.sha256)

    monkeypatch.setattr(export.tensorrt, "build_tensorrt_engines", build)
    monkeypatch.setenv("CLEAD_MODELS_DIR", str(color_models))
    return bundles


def test_the_folder_of_the_engines_is_printed(clead: Clead, asked: list[Bundle]) -> None:
    result = clead("tensorrt", "colors")

    assert result.exit_code == 0, result.output
    (bundle,) = asked
    assert bundle.manifest.name == "colors"
    assert result.stdout == f"{Path('cache') / bundle.sha256}\n"


@pytest.mark.usefixtures("asked")
def test_the_page_names_every_field_of_its_json(clead: Clead) -> None:
    result = clead("tensorrt", "colors", "--json")

    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    page = (Path(__file__).parents[2] / "docs" / "command_line.md").read_text(encoding="utf-8")
    (row,) = (line for line in page.splitlines() if line.startswith("| `clead tensorrt` | `folder`"))
    assert (answer["provider"], answer["version"]) == ("TensorrtExecutionProvider", "9.9")
    assert all(f"`{field}`" in row for field in answer)


def test_a_folder_that_is_no_bundle_is_refused(clead: Clead, tmp_path: Path) -> None:
    result = clead("tensorrt", tmp_path / "nothing-here")

    assert result.exit_code == 1
    assert "neither" in result.stderr


def test_a_machine_without_tensorrt_is_told_what_is_missing(
    clead: Clead, color_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (engine,) = (engine for engine in diagnose().engines if engine.engine == "tensorrt")
    if engine.usable:
        pytest.skip("TensorRT is usable here")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    result = clead("tensorrt", color_models / "colors")

    assert result.exit_code == 1
    assert str(engine.reason) in result.stderr.replace("\n", " ")
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "cache").exists()
