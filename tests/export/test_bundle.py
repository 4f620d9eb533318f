"""Bundles on disk: verified when loaded, published in one step."""

from __future__ import annotations

import shutil
from pathlib import Path

import onnx
import pytest

from export import bundle as bundle_module
from export.bundle import (
    Bundle,
    BundleError,
    BundleNotFoundError,
    find_bundle,
    list_bundles,
    load_bundle,
    next_version,
    resolve_bundle,
    verify_bundle,
    write_bundle,
)
from tests.export.linear_bundle import (
    linear_description,
    linear_files,
    rewrite,
    write_linear_bundle,
)

FILES = ("classifier.onnx", "gradient.onnx", "weights.safetensors", "sample.safetensors", "MODEL_CARD.md")


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def bundle(models: Path) -> Bundle:
    return write_linear_bundle(models)


def test_loading_gives_what_was_written(bundle: Bundle) -> None:
    again = load_bundle(bundle.path)
    assert again == bundle
    assert set(again.manifest.files) == set(FILES)
    assert again.manifest.classes == linear_description().classes


@pytest.mark.parametrize("name", FILES)
def test_changed_byte_is_found(bundle: Bundle, name: str) -> None:
    path = bundle.path / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(BundleError, match=name):
        load_bundle(bundle.path)


@pytest.mark.parametrize("name", FILES)
def test_truncated_file_is_found(bundle: Bundle, name: str) -> None:
    path = bundle.path / name
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(BundleError, match=name):
        load_bundle(bundle.path)


@pytest.mark.parametrize("name", FILES)
def test_missing_file_is_found(bundle: Bundle, name: str) -> None:
    (bundle.path / name).unlink()
    with pytest.raises(BundleError, match=name):
        load_bundle(bundle.path)


@pytest.mark.parametrize("name", FILES)
def test_link_is_refused(bundle: Bundle, name: str, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (bundle.path / name).rename(elsewhere)
    (bundle.path / name).symlink_to(elsewhere)
    with pytest.raises(BundleError, match=name):
        load_bundle(bundle.path)


def test_changed_manifest_changes_the_models_sha256(bundle: Bundle) -> None:
    manifest = bundle.path / "manifest.json"
    manifest.write_bytes(manifest.read_bytes() + b"\n")
    assert load_bundle(bundle.path).sha256 != bundle.sha256


def test_stranger_in_the_folder_is_refused(bundle: Bundle) -> None:
    (bundle.path / "extra.bin").write_bytes(b"x")
    with pytest.raises(BundleError, match=r"extra\.bin"):
        load_bundle(bundle.path)


@pytest.mark.parametrize(
    "location", ["../weights.safetensors", "/etc/passwd", "MODEL_CARD.md", "a/../weights.safetensors"]
)
def test_weights_outside_the_weights_file_are_refused(bundle: Bundle, location: str) -> None:
    rewrite(bundle, {"classifier.onnx": linear_files(location=location)["classifier.onnx"]})
    with pytest.raises(BundleError, match=r"classifier\.onnx takes weights from"):
        load_bundle(bundle.path)


def test_swapped_graphs_are_refused(bundle: Bundle) -> None:
    files = linear_files()
    rewrite(bundle, {"gradient.onnx": files["classifier.onnx"]})
    with pytest.raises(BundleError, match=r"gradient\.onnx maps \['images'\]"):
        load_bundle(bundle.path)


def test_a_file_that_is_no_onnx_is_refused(bundle: Bundle) -> None:
    rewrite(bundle, {"gradient.onnx": b"\xff\xff\xff\xff"})
    with pytest.raises(BundleError, match=r"gradient\.onnx is not an ONNX file"):
        load_bundle(bundle.path)


def test_foreign_operators_are_refused(bundle: Bundle) -> None:
    model = onnx.load_model_from_string(linear_files()["classifier.onnx"])
    model.opset_import.add(domain="com.example", version=1)
    rewrite(bundle, {"classifier.onnx": model.SerializeToString()})
    with pytest.raises(BundleError, match=r"com\.example"):
        load_bundle(bundle.path)


def test_moved_folder_is_refused(bundle: Bundle, models: Path) -> None:
    (models / "other").mkdir()
    bundle.path.rename(models / "other" / "1")
    with pytest.raises(BundleError, match="linear/1"):
        load_bundle(models / "other" / "1")


def test_no_bundle_there(tmp_path: Path) -> None:
    with pytest.raises(BundleNotFoundError, match=r"no manifest\.json"):
        load_bundle(tmp_path)


def test_a_version_is_never_overwritten(bundle: Bundle, models: Path) -> None:
    with pytest.raises(BundleError, match="write version 2"):
        write_bundle(models / "linear", linear_description(), linear_files())
    assert load_bundle(bundle.path) == bundle


def test_an_incomplete_bundle_is_not_written(models: Path) -> None:
    files = linear_files()
    del files["gradient.onnx"]
    with pytest.raises(BundleError, match=r"gradient\.onnx"):
        write_bundle(models / "linear", linear_description(), files)
    assert not models.exists()


def test_an_invalid_bundle_is_not_published(models: Path) -> None:
    files = linear_files(location="elsewhere")
    with pytest.raises(BundleError, match="elsewhere"):
        write_bundle(models / "linear", linear_description(), files)
    assert list((models / "linear").iterdir()) == []


@pytest.mark.parametrize("writes", range(len(FILES) + 1))
def test_a_kill_while_writing_leaves_nothing_visible(
    models: Path, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    """Killed after `writes` files, with nothing to tidy up after it: readers must not see the remains."""
    write, done = bundle_module._write_synchronised, []

    def killed(path: Path, content: bytes) -> None:
        if len(done) == writes:
            path.write_bytes(content[: len(content) // 2])
            raise KeyboardInterrupt
        done.append(path)
        write(path, content)

    monkeypatch.setattr(bundle_module, "_write_synchronised", killed)
    monkeypatch.setattr(shutil, "rmtree", lambda *args, **kwargs: None)
    with pytest.raises(KeyboardInterrupt):
        write_linear_bundle(models)
    monkeypatch.undo()
    assert len(list((models / "linear").iterdir())) == 1
    assert list_bundles(models) == []
    with pytest.raises(BundleNotFoundError):
        resolve_bundle(models, "linear")
    assert next_version(models / "linear") == "1"
    assert write_linear_bundle(models).manifest.version == "1"


def test_a_full_disk_is_reported_and_tidied_up(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(bundle_module, "_write_synchronised", full)
    with pytest.raises(BundleError, match="No space left"):
        write_linear_bundle(models)
    assert list((models / "linear").iterdir()) == []


def test_resolving(models: Path) -> None:
    for version in ("1", "2", "10"):
        write_linear_bundle(models, version=version)
    write_linear_bundle(models, name="other")
    assert resolve_bundle(models, "linear") == models / "linear" / "10"
    assert resolve_bundle(models, "linear/2") == models / "linear" / "2"
    assert [(ref.name, ref.version) for ref in list_bundles(models)] == [
        ("linear", "1"),
        ("linear", "2"),
        ("linear", "10"),
        ("other", "1"),
    ]
    assert next_version(models / "linear") == "11"
    assert next_version(models / "nothing") == "1"


@pytest.mark.parametrize(
    "reference", ["", "nothing", "linear/", "linear/3", "linear/1/", "../linear", "/", "linear/../linear/1"]
)
def test_resolving_what_is_not_there(bundle: Bundle, models: Path, reference: str) -> None:
    with pytest.raises(BundleNotFoundError, match="linear/1"):
        resolve_bundle(models, reference)


def test_listing_no_folder(tmp_path: Path) -> None:
    with pytest.raises(BundleNotFoundError, match="not a folder of models"):
        list_bundles(tmp_path / "nothing")


def test_a_link_counts_by_its_own_name(bundle: Bundle, models: Path, tmp_path: Path) -> None:
    store = tmp_path / "store" / "sha-1234"
    store.parent.mkdir()
    bundle.path.rename(store)
    for version in ("1", "2"):
        (models / "linear" / version).symlink_to(store)
    loaded = load_bundle(models / "linear" / "1")
    assert (loaded.path, loaded.sha256) == (store, bundle.sha256)
    for path in (models / "linear" / "2", store):
        with pytest.raises(BundleError, match=f"^{path} holds the manifest of linear/1: "):
            load_bundle(path)
    assert verify_bundle(store) == loaded


def test_a_bundle_may_be_named_from_where_one_is(
    bundle: Bundle, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_linear_bundle(models, version="2")
    monkeypatch.chdir(models / "linear" / "2")
    assert load_bundle("../1") == bundle
    assert load_bundle(".").manifest.version == "2"


def test_finding_one_name_looks_at_no_other(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for version in ("9", "10"):
        write_linear_bundle(models, version=version)
    (models / "linear" / "11").mkdir()
    monkeypatch.setattr(bundle_module, "list_bundles", None)
    found = find_bundle(models, "linear")
    assert found is not None and (found.version, found.path) == ("10", models / "linear" / "10")
    assert find_bundle(models, "linear/9") == list_bundles(models)[0]


@pytest.mark.parametrize(
    "reference",
    [
        "",
        "/1",
        "./1",
        "../1",
        "..",
        ".",
        "linear/",
        "linear/01",
        "linear/1/",
        "linear/2",
        "a" * 300,
        "\0",
        "\ud800/1",
    ],
)
def test_what_is_no_reference_finds_nothing(bundle: Bundle, reference: str) -> None:
    assert find_bundle(bundle.path.parent, reference) is None
    assert find_bundle(bundle.path.parent.parent, reference) is None
