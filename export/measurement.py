"""What an evaluation measured, as a manifest keeps it: figures, checks, and the command that repeats it."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

from pydantic import ConfigDict, Field, ValidationError

from export.manifest import BundleError, Check, Curve, CurvePoint, Metric, Record, Text, ThreatSpec


class _Figure(Metric):
    model_config = ConfigDict(extra="ignore")


class _CurvePoint(CurvePoint):
    model_config = ConfigDict(extra="ignore")


class _Curve(Curve):
    # Without the intervals, which follow from n.
    points: Annotated[tuple[_CurvePoint, ...], Field(min_length=2)]


class Measurement(Record):
    """The part of an evaluation's JSON that a bundle keeps."""

    model_config = ConfigDict(extra="ignore")

    weights_sha256: Text
    dataset: Text
    n: Annotated[int, Field(ge=1)]
    seed: int
    figures: Annotated[tuple[_Figure, ...], Field(min_length=1)]
    worst_case: _Figure | None = None
    """Over all attacks that were run, image by image."""
    gates: Annotated[tuple[Check, ...], Field(min_length=1)]
    curve: _Curve | None = None

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The figures as a manifest lists them, the worst case last."""
        figures = self.figures if self.worst_case is None else (*self.figures, self.worst_case)
        return tuple(Metric(**figure.model_dump()) for figure in figures)

    def command(self, name: str) -> str:
        """What measures the same again, on the bundle `name`."""
        words = ["clead", "evaluate", name, "--data-dir", "DIR", "--n", str(self.n), "--seed", str(self.seed)]
        attacks = [figure for figure in self.figures if figure.norm is not None]
        words += ["--attacks", ",".join(figure.name for figure in attacks)]
        if any(figure.name == "transfer" for figure in attacks):
            words += ["--transfer-from", "OTHER"]
        if attacks:
            words += ["--norm", str(attacks[0].norm), "--eps", repr(attacks[0].eps)]
        if self.curve is not None:
            words += ["--curve", "curve.png"]
        return shlex.join(words)

    def check_subject(self, *, weights_sha256: str, dataset: str, threat: ThreatSpec) -> None:
        """Raises BundleError unless it was these weights that were measured, on this data, under this threat.

        Figures at a smaller eps than the one of reference would make a model look more robust than it is.
        """
        if self.weights_sha256 != weights_sha256:
            raise BundleError(
                "this evaluation measured other weights: those of sha256 "
                f"{self.weights_sha256[:12]}..., to be exported are {weights_sha256[:12]}...; "
                "run clead evaluate on what you export"
            )
        if self.dataset != dataset:
            raise BundleError(
                f"this evaluation was made on {self.dataset}, but the model is one of {dataset}; "
                "run clead evaluate on what you export"
            )
        for figure in self.metrics:
            if figure.norm is not None and (figure.norm, figure.eps) != (threat.norm, threat.eps):
                raise BundleError(
                    f"{figure.name} was measured at {figure.norm} eps {figure.eps:g}, but this model's "
                    f"figures are those at {threat.norm} eps {threat.eps:g}; run clead evaluate without "
                    "--norm and --eps"
                )


def read_measurement(path: Path) -> Measurement:
    """Reads what `clead evaluate --json` wrote.

    Raises:
        BundleError: it cannot be read, or is not an evaluation; names the field.
    """
    try:
        return Measurement.model_validate_json(path.read_bytes())
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror or error}") from error
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, problem['loc'])) or 'it'}: {problem['msg']}"
            for problem in error.errors(include_url=False, include_context=False, include_input=False)
        )
        raise BundleError(
            f"{path} is not an evaluation ({problems}); make it with clead evaluate --json"
        ) from error
