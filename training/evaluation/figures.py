"""What an evaluation found, as values and as JSON."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import TypeAdapter

from probes.threat import Norm

_Z95 = 1.959964


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """Accuracy on `n` images, clean (norm and eps None) or under attack."""

    name: str
    accuracy: float
    n: int
    norm: Norm | None
    eps: float | None
    seconds: float

    @property
    def interval(self) -> tuple[float, float]:
        """Of the accuracy, 95% (Wilson)."""
        return wilson(self.accuracy, self.n)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, with the interval."""
        return {**asdict(self), "interval95": list(self.interval)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """One check that would expose a misleading figure. `passed` is None if what it needs was not measured."""

    name: str
    passed: bool | None
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """Accuracy at one eps: the share of images that the attack, and noise of the same size, left standing."""

    eps: float
    attacked: float
    noise: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Accuracy on `n` images over eps, in rising order from 0, each eps attacked afresh."""

    attack: str
    norm: Norm
    n: int
    points: tuple[CurvePoint, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, with 95% intervals."""
        points = [
            {
                **asdict(point),
                "attacked_interval95": list(wilson(point.attacked, self.n)),
                "noise_interval95": list(wilson(point.noise, self.n)),
            }
            for point in self.points
        ]
        return {**asdict(self), "points": points}


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """All figures and gates, and the verdict that follows from them."""

    subject: str
    weights_sha256: str
    """Names the weights that were measured (see `export.weights`)."""
    dataset: str
    n: int
    seed: int
    figures: tuple[Figure, ...]
    """Clean, then each attack that was asked for, alone."""
    gates: tuple[Gate, ...]
    libraries: dict[str, str]
    """Versions of what measured."""
    stages: tuple[Figure, ...] = ()
    """AutoAttack's parts in order, each with what stood after it and those before it."""
    worst_case: Figure | None = None
    """What stood after everything that was run at this eps or below; None if no attack was asked for."""
    curve: Curve | None = None

    @property
    def robust(self) -> bool:
        """Only if attacks were run, and every gate was measured and passed."""
        judged = bool(self.gates) and all(gate.passed is True for gate in self.gates)
        return judged and self.worst_case is not None

    @property
    def verdict(self) -> str:
        """One sentence for people."""
        if self.worst_case is not None and self.robust:
            worst = self.worst_case
            low, high = worst.interval
            auto = next((figure for figure in self.figures if figure.name == "autoattack"), None)
            agrees = auto is not None and auto.accuracy == worst.accuracy
            under = "under AutoAttack" if agrees else "in the worst case over all attacks"
            return (
                f"robust accuracy {worst.accuracy:.1%} ({low:.1%} to {high:.1%}) {under}, "
                f"{worst.norm} eps {worst.eps:.4f}; every check passed"
            )
        failed = [gate.name for gate in self.gates if gate.passed is False]
        missing = [gate.name for gate in self.gates if gate.passed is None]
        reasons = [f"failed: {', '.join(failed)}"] if failed else []
        reasons += [f"not measured: {', '.join(missing)}"] if missing else []
        return f"not established to be robust ({'; '.join(reasons)})"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            **asdict(self),
            "figures": [figure.to_dict() for figure in self.figures],
            "stages": [figure.to_dict() for figure in self.stages],
            "worst_case": None if self.worst_case is None else self.worst_case.to_dict(),
            "curve": None if self.curve is None else self.curve.to_dict(),
            "robust": self.robust,
            "verdict": self.verdict,
        }


def evaluation_from_json(text: str | bytes) -> Evaluation:
    """What `Evaluation.to_dict` gave, read again.

    Raises:
        ValueError: it is not an evaluation; names the field.
    """
    return TypeAdapter(Evaluation).validate_json(text)


def wilson(share: float, n: int) -> tuple[float, float]:
    """95% confidence interval of a share of `n` trials (Wilson 1927)."""
    scale = 1.0 + _Z95**2 / n
    centre = (share + _Z95**2 / (2 * n)) / scale
    half = _Z95 * math.sqrt(share * (1 - share) / n + _Z95**2 / (4 * n * n)) / scale
    return max(0.0, centre - half), min(1.0, centre + half)
