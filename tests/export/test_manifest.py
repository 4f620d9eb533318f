"""The manifest: what is refused, and that the refusal names the field."""

from __future__ import annotations

import json
from typing import Any

import pytest

from export.bundle import BundleError
from export.manifest import Manifest, ThreatSpec, check_name, parse_manifest, serialize_manifest
from tests.export.linear_bundle import linear_description

ENTRY = {"sha256": "0" * 64, "bytes": 1}
FILES = ("classifier.onnx", "gradient.onnx", "weights.safetensors", "sample.safetensors", "MODEL_CARD.md")


CURVE: dict[str, Any] = {
    "attack": "pgd-50",
    "norm": "linf",
    "n": 100,
    "points": [
        {"eps": 0.0, "attacked": 0.9, "noise": 0.9},
        {"eps": 0.1, "attacked": 0.2, "noise": 0.8},
    ],
}


def manifest_fields() -> dict[str, Any]:
    return {
        **linear_description().model_dump(mode="json", by_alias=True),
        "files": {name: dict(ENTRY) for name in FILES},
    }


def parse(fields: dict[str, Any]) -> Manifest:
    return parse_manifest(json.dumps(fields).encode())


def test_round_trip() -> None:
    manifest = parse(manifest_fields())
    assert parse_manifest(serialize_manifest(manifest)) == manifest
    assert json.loads(serialize_manifest(manifest)) == manifest_fields()


def test_a_curve_may_be_missing() -> None:
    fields = manifest_fields()
    assert parse(fields | {"curve": CURVE}).curve is not None
    del fields["curve"]
    assert parse(fields).curve is None


@pytest.mark.parametrize("field", sorted(set(manifest_fields()) - {"schema", "interface", "curve"}))
def test_missing_field_is_named(field: str) -> None:
    fields = manifest_fields()
    del fields[field]
    with pytest.raises(BundleError, match=field):
        parse(fields)


def test_a_model_without_threat_is_measured_under_the_usual_one() -> None:
    threat = {"norm": "l2", "eps": 0.5}
    assert parse(manifest_fields() | {"threat": threat}).reference_threat == ThreatSpec(norm="l2", eps=0.5)
    untrained = parse(manifest_fields() | {"threat": None})
    assert untrained.threat is None
    assert untrained.reference_threat == ThreatSpec(norm="linf", eps=8 / 255)
    assert json.loads(serialize_manifest(untrained))["threat"] is None


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("schema",), 2),
        (("interface",), 2),
        (("name",), "../escape"),
        (("version",), "0"),
        (("version",), 1),
        (("classes",), ["one"]),
        (("classes",), ["same", "same"]),
        (("input", "height"), 4.5),
        (("input", "height"), "4"),
        (("input", "channels"), 1),
        (("input", "value_range"), [0.0, 255.0]),
        (("input", "resize"), 2),
        (("input", "colour"), "blue"),
        (("threat", "eps"), 0.0),
        (("threat", "norm"), "l0"),
        (("provenance", "created"), "yesterday"),
        (("metrics",), [{"name": "clean", "accuracy": 1.2, "n": 10}]),
        (("metrics",), [{"name": "pgd", "accuracy": 0.2, "n": 10, "norm": "linf"}]),
        (("curve",), CURVE | {"points": CURVE["points"][:1]}),
        (("curve",), CURVE | {"points": CURVE["points"][::-1]}),
        (("curve",), CURVE | {"points": [point | {"eps": 0.1} for point in CURVE["points"]]}),
        (("curve",), CURVE | {"points": [point | {"noise": 1.1} for point in CURVE["points"]]}),
        (("files", "classifier.onnx", "sha256"), "xyz"),
        (("files", "../outside"), ENTRY),
        (("files", "manifest.json"), ENTRY),
        (("unknown",), 1),
    ],
)
def test_wrong_value_is_named(path: tuple[str, ...], value: object) -> None:
    fields = manifest_fields()
    inner = fields
    for part in path[:-1]:
        inner = inner[part]
    inner[path[-1]] = value
    with pytest.raises(BundleError, match=path[0]):
        parse(fields)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b"\xff", b'{"schema": NaN}'])
def test_not_a_manifest(data: bytes) -> None:
    with pytest.raises(BundleError, match="somewhere"):
        parse_manifest(data, source="somewhere")


def test_missing_file_entry_is_named() -> None:
    fields = manifest_fields()
    del fields["files"]["weights.safetensors"]
    with pytest.raises(BundleError, match=r"weights\.safetensors"):
        parse(fields)


@pytest.mark.parametrize("name", ["a", "clead-cifar10", "v1.2_x", "0"])
def test_good_names(name: str) -> None:
    check_name(name)


@pytest.mark.parametrize("name", ["", ".", "..", "A", "a/b", "-a", "a-", "a..b", "a b", "ä", "a" * 65, "a\n"])
def test_bad_names(name: str) -> None:
    with pytest.raises(BundleError, match="not a model name"):
        check_name(name)
