"""What a probe of many images found out, and what can be said about the set."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from cli.probe_set.files import Failure
from probes.ball import TOLERANCE

_LABEL_CHECK = "clean_image_has_the_label"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """PNG data URLs: the image as the model sees it, the nearest adversarial one and what it changes.

    `answer` is the class that the model sees in the adversarial image. All but `clean` are None where no
    8-bit example was found.
    """

    clean: str
    adversarial: str | None
    difference: str | None
    answer: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Probed:
    """One image's report (the JSON object of `POST /probe`, less its images) and its true class, if known."""

    name: str
    label: str | None
    report: Mapping[str, Any]
    pictures: Pictures | None = None

    @property
    def verdict(self) -> str:
        """flipped, held or inconclusive, about the threat of the report."""
        return str(self.report["verdict"])

    @property
    def flipped(self) -> float:
        """The distance of the nearest example, in units of [0, 1] pixels; inf if none was found."""
        eps = self.report["minimal_eps"]["flipped"]
        return math.inf if eps is None else float(eps)

    @property
    def held(self) -> float | None:
        """The largest eps up to which this image may be called unbroken; None if not even at 0.

        An attack that a check speaks against, or that ran out of time, has shown nothing: then it is 0, where
        the plain answer speaks for itself.
        """
        eps = self.report["minimal_eps"]["held"]
        if eps is None:
            return None
        cut = self.verdict == "inconclusive" or self.report["budget"]["exhausted"] or self.failed_checks
        return 0.0 if cut else float(eps)

    @property
    def correct(self) -> bool | None:
        """Whether the plain answer is the true class; None if that is not known."""
        return None if self.label is None else bool(self.report["prediction"]["label"] == self.label)

    @property
    def failed_checks(self) -> tuple[Mapping[str, Any], ...]:
        """The checks that say what to distrust. That an image is misclassified is not one of them."""
        return tuple(
            check
            for check in self.report["evidence"]
            if check["passed"] is False and check["check"] != _LABEL_CHECK
        )

    @property
    def fragility(self) -> tuple[float, int, str]:
        """Sorts the least robust first: the nearest examples, then what is inconclusive, then what held."""
        return self.flipped, ("flipped", "inconclusive", "held").index(self.verdict), self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class SetResult:
    """All that a run gave.

    Attributes:
        probed: in the order of the files.
        not_reached: how many images a stopped run did not come to.
        skipped: how many files are no images.
    """

    probed: tuple[Probed, ...]
    failures: tuple[Failure, ...]
    not_reached: int
    skipped: int


class Collector:
    """Gathers outcomes, with the pictures of no more than `most_pictures` images: the least robust so far."""

    def __init__(self, *, most_pictures: int) -> None:
        self._most_pictures = most_pictures
        self._probed: list[Probed] = []
        self._failures: list[Failure] = []

    @property
    def empty(self) -> bool:
        """Whether no image has given anything yet."""
        return not (self._probed or self._failures)

    def add(self, outcome: Probed | Failure) -> None:
        """Takes one outcome."""
        if isinstance(outcome, Failure):
            self._failures.append(outcome)
            return
        self._probed.append(outcome)
        illustrated = [probed for probed in self._probed if probed.pictures is not None]
        if len(illustrated) > self._most_pictures:
            sturdiest = max(illustrated, key=lambda probed: probed.fragility)
            self._probed[self._probed.index(sturdiest)] = replace(sturdiest, pictures=None)

    def result(self, *, failures: Iterable[Failure], images: int, skipped: int) -> SetResult:
        """What was gathered, of so many `images`. `failures` come first: those of finding the files."""
        return SetResult(
            probed=tuple(self._probed),
            failures=(*failures, *self._failures),
            not_reached=images - len(self._probed) - len(self._failures),
            skipped=skipped,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """Where the n images of a set stand at one eps.

    Attributes:
        n_flipped: an example lies within eps, which is certain.
        n_held: attacked in vain at eps or beyond, and no check speaks against it.
    """

    eps: float
    n: int
    n_flipped: int
    n_held: int

    @property
    def flipped(self) -> float:
        """The certain share, in [0, 1]."""
        return self.n_flipped / self.n

    @property
    def held(self) -> float:
        """The share attacked in vain, in [0, 1]."""
        return self.n_held / self.n

    @property
    def undecided(self) -> float:
        """The share of all others, in [0, 1]."""
        return (self.n - self.n_flipped - self.n_held) / self.n


def curve_at(probed: Sequence[Probed], radii: Iterable[float]) -> list[CurvePoint]:
    """The robustness curve of a set, of at least one image, at some eps."""
    return [
        CurvePoint(
            eps=eps,
            n=len(probed),
            # As a verdict: 8/255 can be written in more than one way.
            n_flipped=sum(image.flipped <= eps + TOLERANCE for image in probed),
            n_held=sum(
                image.held is not None and image.held >= eps - TOLERANCE and image.flipped > eps + TOLERANCE
                for image in probed
            ),
        )
        for eps in radii
    ]


def breakpoints(probed: Sequence[Probed]) -> list[float]:
    """Every eps at which the curve of a set changes, ascending, with 0: the ends of all brackets."""
    ends = (end for image in probed for end in (image.held, image.flipped))
    return sorted({0.0, *(end for end in ends if end is not None and math.isfinite(end))})


def median_flipped(probed: Sequence[Probed]) -> float | None:
    """The (lower) median of the smallest eps; None where more than half of the images have no example."""
    middle = statistics.median_low(image.flipped for image in probed)
    return middle if math.isfinite(middle) else None
