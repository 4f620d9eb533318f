"""The robustness report of one image, and its JSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from probes.arrays import Array
from probes.certificate import Certificate
from probes.prediction import Prediction
from probes.threat import Norm

Verdict: TypeAlias = Literal["flipped", "held", "inconclusive"]
CheckName: TypeAlias = Literal[
    "answers_are_decided",
    "clean_image_has_the_label",
    "deterministic",
    "flips_persist",
    "gradient_graph_agrees",
    "gradient_is_the_slope",
    "gradient_not_zero",
    "huge_eps_flips",
    "iterative_beats_single_step",
    "larger_budget_agrees",
    "logits_finite",
    "loss_rises",
    "loss_settles",
    "noise_does_not_beat_attack",
    "queries_do_not_beat_attack",
    "served_classifier_confirms",
]
"""Every check that a report can hold."""
Encode: TypeAlias = Callable[[Array], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """What is known about one ball. All fields but eps are None where it was not attacked; `flipped` and
    `flipped_8bit` also where a point inside is given a class that would flip by rounding alone.

    `margin` is the smallest logit margin seen inside the ball (negative: the goal is reached), `noise_margin`
    the smallest one under uniform noise of this size. `prediction` is the answer for the point of that
    margin.
    """

    eps: float
    flipped: bool | None
    flipped_8bit: bool | None
    prediction: Prediction | None
    margin: float | None
    noise_margin: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MinimalEps:
    """`held`: the largest eps attacked in vain; `flipped`: the measured distance of the nearest example."""

    held: float | None
    flipped: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What was asked of the attack and what it took."""

    steps: int
    restarts: int
    loss: str
    gradient_evaluations: int
    forward_evaluations: int
    seconds: float
    seed: int
    exhausted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One piece of evidence for or against trusting a `held`."""

    check: CheckName
    passed: bool
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassDistance:
    """The nearest image of one class that was found, confirmed by the served classifier.

    Attributes:
        index: the class.
        flipped: its distance, on floats; None if none was found.
    """

    index: int
    flipped: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Images:
    """The nearest 8-bit example and what it changes, float32[3, H, W] in [0, 1].

    `adversarial` lies on the 8-bit grid, so a file holds it exactly; `prediction` is the served answer for it
    and `eps` its distance. `difference` is grey where nothing changed, with the change amplified to the full
    range. `reason` says why an image is missing.
    """

    adversarial: Array | None = None
    difference: Array | None = None
    prediction: Prediction | None = None
    eps: float | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeReport:
    """The answer to a probe.

    `classes`, nearest first, and `certificate` are None if they were not asked for; `classes` also where
    none was looked for.
    """

    prediction: Prediction
    height: int
    width: int
    norm: Norm
    eps: float
    verdict: Verdict
    meaning: str
    minimal_eps: MinimalEps
    minimal_eps_8bit: float | None
    curve: tuple[CurvePoint, ...]
    budget: Spent
    evidence: tuple[Check, ...]
    images: Images
    classes: tuple[ClassDistance, ...] | None = None
    certificate: Certificate | None = None

    def to_dict(
        self, *, classes: Sequence[str] | None = None, encode: Encode | None = None
    ) -> dict[str, Any]:
        """The report as JSON values; a field without a value is None.

        Args:
            classes: names of the classes; their numbers without it.
            encode: turns an image float32[3, H, W] into text; without it the images are None.
        """

        def image(pixels: Array | None) -> str | None:
            return None if pixels is None or encode is None else encode(pixels)

        return {
            "prediction": _answer(self.prediction, classes, index=True),
            "space": {"name": "model_input", "height": self.height, "width": self.width},
            "threat": {"norm": self.norm, "eps": self.eps},
            "verdict": self.verdict,
            "meaning": self.meaning,
            "minimal_eps": {"held": self.minimal_eps.held, "flipped": self.minimal_eps.flipped},
            "minimal_eps_8bit": self.minimal_eps_8bit,
            "curve": [
                {
                    "eps": point.eps,
                    "flipped": point.flipped,
                    "flipped_8bit": point.flipped_8bit,
                    **_answer(point.prediction, classes, index=False),
                    "margin": point.margin,
                    "noise_margin": point.noise_margin,
                }
                for point in self.curve
            ],
            "budget": {
                "steps": self.budget.steps,
                "restarts": self.budget.restarts,
                "loss": self.budget.loss,
                "gradient_evaluations": self.budget.gradient_evaluations,
                "forward_evaluations": self.budget.forward_evaluations,
                "seconds": self.budget.seconds,
                "seed": self.budget.seed,
                "exhausted": self.budget.exhausted,
            },
            "evidence": [
                {"check": check.check, "passed": check.passed, "detail": check.detail}
                for check in self.evidence
            ],
            "classes": None
            if self.classes is None
            else [
                {
                    "label": str(one.index) if classes is None else classes[one.index],
                    "index": one.index,
                    "flipped": one.flipped,
                }
                for one in self.classes
            ],
            "certificate": None
            if self.certificate is None
            else self.certificate.to_dict(predicted=self.prediction.index, classes=classes),
            "images": {
                "adversarial": image(self.images.adversarial),
                "difference": image(self.images.difference),
                **_answer(self.images.prediction, classes, index=True),
                "eps": self.images.eps,
                "reason": self.images.reason,
            },
        }


def amplified_difference(adversarial: Array, clean: Array) -> Array:
    """adversarial - clean as an image: grey is no change, and the largest change reaches 0 or 1."""
    delta = np.asarray(adversarial, dtype=np.float32) - clean
    peak = float(np.max(np.abs(delta)))
    return 0.5 + delta * np.float32(0.5 / peak) if peak > 0 else np.full_like(delta, 0.5)


def _answer(prediction: Prediction | None, classes: Sequence[str] | None, *, index: bool) -> dict[str, Any]:
    answer: dict[str, Any] = {"label": None, "index": None, "probability": None}
    if prediction is not None:
        answer["label"] = str(prediction.index) if classes is None else classes[prediction.index]
        answer["index"] = prediction.index
        answer["probability"] = prediction.probability
    return answer if index else {name: value for name, value in answer.items() if name != "index"}
