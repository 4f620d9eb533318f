"""What an evaluation found, as values and as JSON."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from probes.threat import Norm

_Z95 = 1.959964


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """Accuracy on `n` images, clean (norm and eps None) or under one attack, with its 95% interval
    (Wilson).
    """

    name: str
    accuracy: float
    n: int
    norm: Norm | None
    eps: float | None
    seconds: float

    @property
    def interval(self) -> tuple[float, float]:
        return wilson(self.accuracy, self.n)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """One check that would expose a misleading figure. `passed` is None if what it needs was not measured."""

    name: str
    passed: bool | None
    detail: str


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
    gates: tuple[Gate, ...]
    libraries: dict[str, str]
    """Versions of what measured."""

    @property
    def robust(self) -> bool:
        """Only if every gate was measured and passed."""
        return bool(self.gates) and all(gate.passed is True for gate in self.gates)

    @property
    def verdict(self) -> str:
        """One sentence for people."""
        if self.robust:
            auto = next(figure for figure in self.figures if figure.name == "autoattack")
            low, high = auto.interval
            return (
                f"robust accuracy {auto.accuracy:.1%} ({low:.1%} to {high:.1%}) under AutoAttack, "
                f"{auto.norm} eps {auto.eps:.4f}; every check passed"
            )
        failed = [gate.name for gate in self.gates if gate.passed is False]
        missing = [gate.name for gate in self.gates if gate.passed is None]
        reasons = [f"failed: {', '.join(failed)}"] if failed else []
        reasons += [f"not measured: {', '.join(missing)}"] if missing else []
        return f"not established to be robust ({'; '.join(reasons)})"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        figures = [{**asdict(figure), "interval95": list(figure.interval)} for figure in self.figures]
        return {**asdict(self), "figures": figures, "robust": self.robust, "verdict": self.verdict}


def wilson(share: float, n: int) -> tuple[float, float]:
    """95% confidence interval of a share of `n` trials (Wilson 1927)."""
    scale = 1.0 + _Z95**2 / n
    centre = (share + _Z95**2 / (2 * n)) / scale
    half = _Z95 * math.sqrt(share * (1 - share) / n + _Z95**2 / (4 * n * n)) / scale
    return max(0.0, centre - half), min(1.0, centre + half)
