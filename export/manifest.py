"""The manifest of a bundle: what a model is, what it was trained for, how it was measured.

`manifest.json` is UTF-8 JSON. Reading is strict: an unknown field, a missing field or a value of another type
is refused by name. The models below are frozen and hold nothing but plain values, so reading one needs
neither torch nor onnx.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

SCHEMA: Final = 1
INTERFACE: Final = 1
MANIFEST = "manifest.json"
CLASSIFIER = "classifier.onnx"
GRADIENT = "gradient.onnx"
WEIGHTS = "weights.safetensors"
SAMPLE = "sample.safetensors"
CARD = "MODEL_CARD.md"
REQUIRED_FILES = (CLASSIFIER, GRADIENT, WEIGHTS, SAMPLE, CARD)

NAME_PATTERN = r"^[a-z0-9](?:[a-z0-9_-]|\.(?!\.)){0,62}[a-z0-9]$|^[a-z0-9]$"
VERSION_PATTERN = r"^[1-9][0-9]{0,8}$"
FILE_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"

Text = Annotated[str, Field(min_length=1)]
Norm = Literal["linf", "l2", "l1"]
FileName = Annotated[str, Field(pattern=FILE_PATTERN)]


class BundleError(ValueError):
    """A bundle, or a part of one, is wrong. The message names the file or field, and what to do."""


class Record(BaseModel):
    """Base of every part of the manifest: frozen, strict types, no unknown fields, no NaN or infinity."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


class Architecture(Record):
    """Which network `training.networks.build_network` builds, and with which options."""

    name: Text
    options: dict[str, JsonValue] = Field(default_factory=dict)


class InputSpec(Record):
    """What the graphs take: `float32[N, channels, height, width]` in `value_range`.

    How a photo becomes that: `resize` is the length in pixels of the shorter side before the centre crop to
        (height, width).
    """

    height: Annotated[int, Field(ge=1, le=4096)]
    width: Annotated[int, Field(ge=1, le=4096)]
    channels: Literal[3] = 3
    value_range: tuple[float, float] = (0.0, 1.0)
    resize: Annotated[int, Field(ge=1, le=8192)]
    interpolation: Literal["bilinear", "bicubic", "lanczos"] = "bicubic"
    crop: Literal["center"] = "center"

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.resize < max(self.height, self.width):
            raise ValueError(
                f"resize is {self.resize}, but the centre crop needs at least max(height, width)"
            )
        if self.value_range != (0.0, 1.0):
            raise ValueError(f"value_range is {list(self.value_range)}: only [0.0, 1.0] is accepted")
        return self


class ThreatSpec(Record):
    """The threat a model was trained for; eps in [0, 1] pixels (l2, l1: over all values of an image)."""

    norm: Norm
    eps: Annotated[float, Field(gt=0)]


USUAL_THREAT = ThreatSpec(norm="linf", eps=8 / 255)
"""Under which a model is measured that was trained for none."""


class Provenance(Record):
    """Where the weights come from. `created`: ISO 8601 in UTC; `commit`: of the code, or "unknown"."""

    objective: Text
    recipe: dict[str, JsonValue]
    dataset: Text
    seed: int
    commit: Text
    created: Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)$")]


class Metric(Record):
    """One measured figure: accuracy in [0, 1] on `n` test images, clean or under an attack of size eps."""

    name: Text
    accuracy: Annotated[float, Field(ge=0, le=1)]
    n: Annotated[int, Field(ge=1)]
    norm: Norm | None = None
    eps: Annotated[float, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _whole_threat(self) -> Self:
        if (self.norm is None) != (self.eps is None):
            raise ValueError("norm and eps go together: both null (clean images) or both given")
        return self


class CurvePoint(Record):
    """Accuracy at one eps: the shares of images that the attack and noise of the same size left standing."""

    eps: Annotated[float, Field(ge=0)]
    attacked: Annotated[float, Field(ge=0, le=1)]
    noise: Annotated[float, Field(ge=0, le=1)]


class Curve(Record):
    """Accuracy on `n` test images over eps, from 0 (no attack) upwards, each eps attacked afresh."""

    attack: Text
    norm: Norm
    n: Annotated[int, Field(ge=1)]
    points: Annotated[tuple[CurvePoint, ...], Field(min_length=2)]

    @model_validator(mode="after")
    def _ascends(self) -> Self:
        sizes = [point.eps for point in self.points]
        if sizes[0] != 0 or any(size >= following for size, following in pairwise(sizes)):
            raise ValueError(f"points are at eps {sizes}: they begin at 0 and ascend")
        return self


class Check(Record):
    """One check that would expose a misleading figure. `passed` is null where it was not measured."""

    name: Text
    passed: bool | None
    detail: str


class FileEntry(Record):
    """Hash and size of one file of the bundle."""

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    bytes: Annotated[int, Field(ge=0)]


class Description(Record):
    """A manifest before its files exist: everything that people and the exporter decide."""

    schema_version: Literal[1] = Field(default=SCHEMA, alias="schema")
    interface: Literal[1] = INTERFACE
    name: Annotated[str, Field(max_length=64)]
    version: Annotated[str, Field(pattern=VERSION_PATTERN)]
    classes: tuple[Text, ...]
    architecture: Architecture
    input: InputSpec
    threat: ThreatSpec | None
    """Null for a model that was trained without perturbations."""
    provenance: Provenance
    metrics: tuple[Metric, ...]
    curve: Curve | None = None
    """Of the same evaluation; null where it was not measured."""
    checks: tuple[Check, ...]
    """Of the metrics, by the same evaluation; none where there are no metrics."""
    evaluation_command: str

    @property
    def reference_threat(self) -> ThreatSpec:
        """Under which the model is measured and probed where nothing else is said."""
        return self.threat or USUAL_THREAT

    @model_validator(mode="after")
    def _named_classes(self) -> Self:
        check_name(self.name)
        if len(self.classes) < 2:
            raise ValueError(f"classes has {len(self.classes)} entries: a classifier has at least two")
        twice = sorted({label for label in self.classes if self.classes.count(label) > 1})
        if twice:
            raise ValueError(f"classes names {twice} more than once: labels must differ")
        return self


class Manifest(Description):
    """The whole of `manifest.json`."""

    files: dict[FileName, FileEntry]

    @model_validator(mode="after")
    def _complete(self) -> Self:
        missing = [name for name in REQUIRED_FILES if name not in self.files]
        if missing:
            raise ValueError(f"files lacks {', '.join(missing)}")
        if MANIFEST in self.files:
            raise ValueError(f"files lists {MANIFEST}, which cannot hold its own hash")
        return self


def check_name(name: str) -> None:
    """Raises BundleError unless `name` is a model name: up to 64 lower-case letters, digits, `.-_`."""
    if not re.fullmatch(NAME_PATTERN, name):
        raise BundleError(
            f"{name!r} is not a model name: use 1 to 64 lower-case letters, digits, '.', '_' and '-', "
            "beginning and ending with a letter or digit, without '..'"
        )


def parse_manifest(data: bytes, *, source: str = MANIFEST) -> Manifest:
    """Reads the bytes of a manifest.

    Raises:
        BundleError: not JSON, an unknown or missing field, or a wrong value; names `source` and the field.
    """
    try:
        return Manifest.model_validate_json(data)
    except ValidationError as error:
        problems = [
            f"{'.'.join(str(part) for part in problem['loc']) or 'manifest'}: {problem['msg']}"
            for problem in error.errors(include_url=False, include_context=False, include_input=False)
        ]
        reasons = "; ".join(problems[:5])
        raise BundleError(f"{source} is not a manifest of schema {SCHEMA}: {reasons}") from error


def serialize_manifest(manifest: Manifest) -> bytes:
    """The bytes that `parse_manifest` reads back: indented JSON in UTF-8 with a final newline."""
    return (manifest.model_dump_json(by_alias=True, indent=2) + "\n").encode()
