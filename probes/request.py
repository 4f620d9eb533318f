"""What a probe is asked."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self, TypeAlias, get_args

from probes.losses import Loss, minimum_classes
from probes.threat import Norm, diameter

LossName: TypeAlias = Literal["auto", "cross-entropy", "margin", "dlr"]
Evidence: TypeAlias = Literal["quick", "full"]
Include: TypeAlias = Literal["adversarial", "difference"]

LOSSES: dict[str, tuple[Loss, ...]] = {
    "auto": (Loss.MARGIN, Loss.CROSS_ENTROPY),
    "cross-entropy": (Loss.CROSS_ENTROPY,),
    "margin": (Loss.MARGIN,),
    "dlr": (Loss.DLR,),
}
"""The losses that the restarts take in turn. "auto" changes them, so that a model cannot hide behind one
saturated loss, and goes on towards single classes (`probes.ladder.aims`)."""

MAX_EPS_LINF = 0.25
MAX_EPS_L2_PER_VALUE = 0.09
"""Default end of the search in l2, times the square root of the number of values: 5.0 for 32 x 32 x 3."""
MAX_EPS_L1_PER_L2 = 24.0
"""Default end of the search in l1, times that in l2: 120 for 32 x 32 x 3. Models are measured there at 12 in
l1 (Croce and Hein, arXiv 2103.01208) and at 0.5 in l2, so either search ends at ten times the usual eps."""

MIN_SIGMA, MAX_SIGMA = 0.001, 1.0
"""Less noise than a quarter of an 8-bit level drowns in float32's rounding; more than the range leaves no
image."""
MIN_CERTIFY_SAMPLES = 10
"""Fewer samples cannot bound a probability above one half with confidence 0.999, whatever they say."""


MIN_CHANGE = 1e-5
"""The smallest change of a value that a probe is about: float32 knows pixels to 6e-8, and the attack's ball
is smaller than the one asked for by twice that."""


def smallest_eps(norm: Norm, values: int) -> float:
    """The smallest ball above 0 that can be attacked in an image of so many values: an l2 step moves all of
    them, an l1 step a few."""
    return MIN_CHANGE * (math.sqrt(values) if norm == "l2" else 1.0)


def default_search_end(norm: Norm, values: int) -> float:
    """Where a search in an image of so many values ends unless it is told."""
    l2 = MAX_EPS_L2_PER_VALUE * math.sqrt(values)
    ends = {"linf": MAX_EPS_LINF, "l2": l2, "l1": MAX_EPS_L1_PER_L2 * l2}
    return min(ends[norm], diameter(norm, values))


class ProbeError(ValueError):
    """A probe that cannot be done as asked; `field` names the parameter, or "image" or "model"."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeRequest:
    """The parameters of one probe.

    Attributes:
        norm: "linf", "l2" or "l1", over all values of the image as the model sees it.
        eps: radii to attack at, in units of [0, 1] pixels. Without them the probe searches the smallest that
            flips.
        max_eps: end of that search; without it 0.25 for l-inf, 0.09 sqrt(values) for l2 and 2.16 sqrt(values)
            for l1. Not together with `eps`.
        steps: steps of each run of the attack: PGD, in l1 Auto-PGD.
        restarts: its runs at each eps.
        loss: what the attack climbs; "auto" takes, over the restarts, the margin, the cross-entropy, and then
            the margin towards each of the likeliest other classes in turn. Of two classes always the margin.
        label: index of the class to be lost; the predicted one without it.
        target: index of the class to be reached; any other than the label without it.
        every_class: whether to look for the nearest image of each other class as well. Not with `target`.
        seed: of all random numbers.
        evidence: "quick" checks cost little; "full" also attacks with a larger budget and asks
            the query-only attack for more.
        include: which images the report holds.
        certify: whether the report holds a certificate for the smoothed classifier (`probes.smoothing`).
        sigma: standard deviation of its noise, in units of [0, 1] pixels.
        certify_samples: samples that bound its probability.

    Raises:
        ProbeError: for a value outside of what is accepted, naming the field.
    """

    norm: Norm = "linf"
    eps: tuple[float, ...] | None = None
    max_eps: float | None = None
    steps: int = 20
    restarts: int = 2
    loss: LossName = "auto"
    label: int | None = None
    target: int | None = None
    every_class: bool = False
    seed: int = 0
    evidence: Evidence = "quick"
    include: frozenset[Include] = frozenset()
    certify: bool = False
    sigma: float = 0.12
    certify_samples: int = 1000

    def __post_init__(self) -> None:
        # NumPy's own numbers would make float64 of all that they meet.
        if self.eps is not None:
            object.__setattr__(self, "eps", tuple(float(eps) for eps in self.eps))
        if self.max_eps is not None:
            object.__setattr__(self, "max_eps", float(self.max_eps))
        _one_of("norm", self.norm, get_args(Norm))
        _one_of("loss", self.loss, tuple(LOSSES))
        _one_of("evidence", self.evidence, get_args(Evidence))
        for name in self.include:
            _one_of("include", name, get_args(Include))
        _at_least("steps", self.steps, 1)
        _at_least("restarts", self.restarts, 1)
        _at_least("seed", self.seed, 0)
        _at_least("certify_samples", self.certify_samples, MIN_CERTIFY_SAMPLES)
        if not MIN_SIGMA <= self.sigma <= MAX_SIGMA:
            raise ProbeError(
                "sigma",
                f"sigma is {self.sigma}; give a number from {MIN_SIGMA:g} to {MAX_SIGMA:g}, in [0, 1] pixel "
                "units",
            )
        if self.seed >= 2**64:
            raise ProbeError("seed", f"seed is {self.seed}; give a whole number below 2**64")
        self._check_radii()
        if self.label is not None and self.label == self.target:
            raise ProbeError("target", f"label and target are both class {self.label}; give different ones")
        if self.every_class and self.target is not None:
            raise ProbeError("target", "target names one class; leave it out to probe against every class")

    def check_model(self, *, classes: int, values: int) -> None:
        """Compares the request with a model of so many classes, for images of so many values.

        Raises:
            ProbeError: the model has no such class, or too few for the loss; or images of this size have no
                such distance.
        """
        for field, index in (("label", self.label), ("target", self.target)):
            if index is not None and not 0 <= index < classes:
                raise ProbeError(field, f"{field} is {index}; the model's classes are 0 to {classes - 1}")
        for loss in LOSSES[self.loss]:
            needed = minimum_classes(loss, targeted=self.target is not None)
            if classes < needed:
                towards = " towards a target" if self.target is not None else ""
                raise ProbeError(
                    "loss",
                    f"loss is {self.loss}, which{towards} needs {needed} classes or more, and the model has "
                    f"{classes}: give another loss, as margin",
                )
        smallest, largest = smallest_eps(self.norm, values), diameter(self.norm, values)
        for field, radii in (("eps", self.eps or ()), ("max_eps", (self.search_end(values),))):
            for eps in radii:
                if 0 < eps < smallest:
                    raise ProbeError(
                        field,
                        f"{field} is {eps:.6g}; give 0, or {smallest:.2g} or more: smaller changes drown "
                        "in the rounding of float32 pixels",
                    )
                if eps > largest:
                    raise ProbeError(
                        field,
                        f"{field} is {eps:.6g}; no two images of this size are further apart than "
                        f"{largest:.6g} in {self.norm}",
                    )

    def to_dict(self) -> dict[str, Any]:
        """The request as JSON values."""
        return {**dataclasses.asdict(self), "include": sorted(self.include)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The request that `to_dict` describes.

        Raises:
            ProbeError: as for a new one.
        """
        eps = None if values["eps"] is None else tuple(values["eps"])
        return cls(**{**values, "eps": eps, "include": frozenset(values["include"])})

    def _check_radii(self) -> None:
        if self.eps is not None:
            if not self.eps:
                raise ProbeError("eps", "eps is an empty list; give one or several values, or none to search")
            if self.max_eps is not None:
                raise ProbeError("max_eps", "max_eps ends the search and eps replaces it; give one of them")
            for eps in self.eps:
                self._check_radius("eps", eps)
        if self.max_eps is not None:
            self._check_radius("max_eps", self.max_eps)
            if self.max_eps == 0:
                raise ProbeError("max_eps", "max_eps is 0; give a value above 0")

    def _check_radius(self, field: str, eps: float) -> None:
        largest = 1.0 if self.norm == "linf" else math.inf
        if not (math.isfinite(eps) and 0.0 <= eps <= largest):
            bound = "from 0 to 1" if self.norm == "linf" else "of 0 or more"
            raise ProbeError(
                field, f"{field} is {eps}; for {self.norm} give numbers {bound}, in [0, 1] pixel units"
            )

    def search_end(self, values: int) -> float:
        """Where the search ends, for images of so many values."""
        if self.max_eps is not None:
            return self.max_eps
        return default_search_end(self.norm, values)


def _one_of(field: str, value: str, accepted: tuple[str, ...]) -> None:
    if value not in accepted:
        raise ProbeError(field, f"{field} is {value!r}; accepted are: {', '.join(accepted)}")


def _at_least(field: str, value: int, least: int) -> None:
    if value < least:
        raise ProbeError(field, f"{field} is {value}; give a whole number of {least} or more")
