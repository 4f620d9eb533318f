"""The bundle on disk: one folder `<models>/<name>/<version>/`, written once, verified whenever it is loaded.

Needs neither torch nor onnx, so that a serving machine can read bundles. The format is described in
docs/bundle.md.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from export.manifest import (
    CARD,
    CLASSIFIER,
    GRADIENT,
    MANIFEST,
    REQUIRED_FILES,
    SAMPLE,
    VERSION_PATTERN,
    WEIGHTS,
    Architecture,
    BundleError,
    Check,
    Description,
    FileEntry,
    InputSpec,
    Manifest,
    Metric,
    Provenance,
    ThreatSpec,
    parse_manifest,
    serialize_manifest,
)
from export.onnx_header import read_header

__all__ = [
    "CARD", "CLASSIFIER", "GRADIENT", "MANIFEST", "REQUIRED_FILES", "SAMPLE", "WEIGHTS",
    "Architecture", "Bundle", "BundleError", "BundleNotFoundError", "BundleRef", "Check", "Description",
    "FileEntry", "InputSpec", "Manifest", "Metric", "Provenance", "ThreatSpec",
    "find_bundle", "list_bundles", "load_bundle", "named_path", "next_version", "resolve_bundle",
    "verify_bundle", "write_bundle",
]  # fmt: skip

GRAPH_INTERFACES = {
    CLASSIFIER: (("images",), ("logits",)),
    GRADIENT: (("images", "label", "target", "loss"), ("logits", "loss_value", "gradient")),
}
MAX_MANIFEST_BYTES = 4 * 1024 * 1024


class BundleNotFoundError(BundleError):
    """No bundle of that name or version is there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A verified bundle. `sha256` (of the bytes of manifest.json) covers every file of the model.

    `path` is the folder itself, also where a link led to it: the link may lead elsewhere a moment later.
    """

    path: Path
    manifest: Manifest
    sha256: str

    def file(self, name: str) -> Path:
        """Path of the file `name`, e.g. `bundle.file(CLASSIFIER)`."""
        return self.path / name


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleRef:
    """Where a bundle lies, before it is loaded."""

    name: str
    version: str
    path: Path


def load_bundle(path: Path | str) -> Bundle:
    """Reads and verifies the bundle in the folder `path` (`.../<name>/<version>`). Of links in it the
    names count, not those of the folders that they lead to.

    Raises:
        BundleNotFoundError: there is no such folder, or it has no manifest.
        BundleError: anything else that is not as it must be; names the file.
    """
    bundle = verify_bundle(path)
    name, version = bundle.manifest.name, bundle.manifest.version
    asked = named_path(path)
    if (asked.parent.name, asked.name) != (name, version):
        raise BundleError(
            f"{asked} holds the manifest of {name}/{version}: move it to a folder <models>/{name}/{version}"
        )
    return bundle


def named_path(path: Path | str) -> Path:
    """A path without `..`, from the root, by whose last two names a bundle is listed and asked for."""
    # Links are left in it, which Path.resolve would follow.
    return Path(os.path.abspath(path))  # noqa: PTH100


def verify_bundle(path: Path | str) -> Bundle:
    """As `load_bundle`, whatever the folder is called.

    Verified are the manifest's schema, that the folder holds the listed files and nothing else, every size
    and sha256, the names of the graphs' inputs and outputs, that they use standard operators, and that their
    weights lie in this folder.
    """
    folder = Path(path).resolve()
    manifest_path = folder / MANIFEST
    if not manifest_path.is_file():
        raise BundleNotFoundError(f"{folder} is not a bundle: it has no {MANIFEST}")
    if manifest_path.is_symlink() or manifest_path.stat().st_size > MAX_MANIFEST_BYTES:
        raise BundleError(f"{manifest_path} is a link or larger than {MAX_MANIFEST_BYTES} bytes")
    data = manifest_path.read_bytes()
    manifest = parse_manifest(data, source=str(manifest_path))
    for stranger in sorted({path.name for path in folder.iterdir()} - set(manifest.files) - {MANIFEST}):
        raise BundleError(f"{folder / stranger} is not listed in {MANIFEST}: remove it")
    for name, entry in manifest.files.items():
        _check_file(folder / name, entry)
    for name, (inputs, outputs) in GRAPH_INTERFACES.items():
        _check_graph(folder / name, inputs, outputs)
    return Bundle(path=folder, manifest=manifest, sha256=hashlib.sha256(data).hexdigest())


def write_bundle(parent: Path | str, description: Description, files: Mapping[str, bytes]) -> Bundle:
    """Publishes a new version under `parent` (`<models>/<name>`), in one step.

    The files are written and synchronised in a hidden folder beside the target, verified there as
    `load_bundle` would, and renamed: readers see all of it or nothing. An interrupted write leaves at most
    that hidden folder, which no reader looks at.

    Args:
        parent: the folder of the model; its name must be `description.name`. Created when absent.
        description: the manifest without its files.
        files: content by file name: the five required files, and any other plain names.

    Raises:
        BundleError: that version exists already, a file is missing or not acceptable, or the disk refuses.
    """
    home = Path(parent).resolve()
    target = home / description.version
    if home.name != description.name:
        raise BundleError(f"{home} must be named like its model: {description.name}")
    if target.exists():
        raise BundleError(f"{target} exists and never changes: write version {next_version(home)}")
    missing = [name for name in REQUIRED_FILES if name not in files]
    if missing:
        raise BundleError(f"cannot write {target}: no content for {', '.join(missing)}")
    entries = {
        name: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
        for name, content in sorted(files.items())
    }
    fields = description.model_dump(mode="json", by_alias=True) | {"files": entries}
    manifest = serialize_manifest(_manifest_of(fields))
    hidden = home / f".incoming-{uuid.uuid4().hex}"
    try:
        hidden.mkdir(parents=True)
        for name, content in [*files.items(), (MANIFEST, manifest)]:
            _write_synchronised(hidden / name, content)
        _synchronise(hidden)
        verify_bundle(hidden)
        hidden.rename(target)
        _synchronise(home)
    except OSError as error:
        raise BundleError(f"cannot write {target}: {error}") from error
    finally:
        shutil.rmtree(hidden, ignore_errors=True)
    return load_bundle(target)


def list_bundles(models_dir: Path | str) -> list[BundleRef]:
    """Every bundle under `models_dir`, by name, then by version from old to new. Nothing is verified.

    Raises:
        BundleNotFoundError: `models_dir` is not a folder.
    """
    root = Path(models_dir)
    if not root.is_dir():
        raise BundleNotFoundError(f"{root} is not a folder of models (<name>/<version>/{MANIFEST})")
    return [ref for name in sorted(_entries(root)) for ref in _versions(root / name)]


def find_bundle(models_dir: Path | str, reference: str) -> BundleRef | None:
    """The bundle `name` (its newest version) or `name/version` under `models_dir`; None if it is not there.
    Other names are not looked at, however many there are.
    """
    name, asked, version = reference.partition("/")
    # What leads elsewhere is no name.
    if name in ("", "..") or Path(name).name != name:
        return None
    folder = Path(models_dir) / name
    if not asked:
        return next(reversed(_versions(folder)), None)
    found = re.fullmatch(VERSION_PATTERN, version) and _has_manifest(folder / version)
    return BundleRef(name=name, version=version, path=folder / version) if found else None


def resolve_bundle(models_dir: Path | str, reference: str) -> Path:
    """The folder of the bundle `name` (its newest version) or `name/version` under `models_dir`.

    Raises:
        BundleNotFoundError: no such model or version, or not a reference at all; says which ones there are.
    """
    if (found := find_bundle(models_dir, reference)) is not None:
        return found.path
    there = ", ".join(f"{ref.name}/{ref.version}" for ref in list_bundles(models_dir)) or "none"
    raise BundleNotFoundError(f"there is no model {reference!r}; give a name or name/version of: {there}")


def next_version(parent: Path | str) -> str:
    """The version after the newest one in the model's folder `parent`; "1" when there is none."""
    taken = [int(path.name) for path in Path(parent).glob("*") if re.fullmatch(VERSION_PATTERN, path.name)]
    return str(max(taken, default=0) + 1)


def _versions(folder: Path) -> list[BundleRef]:
    """The bundles of one model's folder, from old to new; none where nothing can be read."""
    versions = [name for name in _entries(folder) if re.fullmatch(VERSION_PATTERN, name)]
    return [
        BundleRef(name=folder.name, version=version, path=folder / version)
        for version in sorted(versions, key=int)
        if _has_manifest(folder / version)
    ]


def _entries(folder: Path) -> list[str]:
    try:
        return [entry.name for entry in folder.iterdir()]
    # Of a name that the system does not accept, too.
    except (OSError, ValueError):
        return []


def _has_manifest(folder: Path) -> bool:
    try:
        return (folder / MANIFEST).exists()
    except (OSError, ValueError):
        return False


def _manifest_of(fields: dict[str, object]) -> Manifest:
    return parse_manifest(json.dumps(fields).encode(), source="the new manifest")


def _check_file(path: Path, entry: FileEntry) -> None:
    if path.is_symlink() or not path.is_file():
        raise BundleError(f"{path} is missing or not a plain file: restore it, or export the bundle again")
    size = path.stat().st_size
    if size != entry.bytes:
        raise BundleError(f"{path} is damaged: {size} bytes instead of {entry.bytes}; export it again")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != entry.sha256:
        raise BundleError(f"{path} is damaged or tampered with (sha256 differs): export it again")


def _check_graph(path: Path, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> None:
    header = read_header(path.read_bytes(), source=str(path))
    if (header.inputs, header.outputs) != (inputs, outputs):
        raise BundleError(
            f"{path} maps {list(header.inputs)} to {list(header.outputs)}, "
            f"not {list(inputs)} to {list(outputs)}: export it again"
        )
    outside = sorted(header.external_locations - {WEIGHTS})
    if outside:
        raise BundleError(f"{path} takes weights from {outside}: only {WEIGHTS} beside it is accepted")


def _write_synchronised(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _synchronise(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
