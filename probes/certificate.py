"""What randomised smoothing proved about one image, and its JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from decimal import ROUND_DOWN, Context
from typing import Any

_FOUR_DIGITS = Context(prec=4, rounding=ROUND_DOWN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """A lower bound on the robustness of the smoothed classifier, or its abstention.

    The smoothed classifier answers with the class that the served model gives most often under Gaussian
    noise. With confidence 1 - alpha it answers `index` for every image closer than `radius`. It says nothing
    about the served model, which is asked without noise.

    Attributes:
        index: the smoothed classifier's class; None if it abstains.
        radius: in l2, over all values of the image, in units of [0, 1] pixels; None if it abstains.
        radius_linf: radius / sqrt(values); the l-inf ball of that size lies inside the l2 ball.
        sigma: standard deviation of the noise, in units of [0, 1] pixels.
        n0: samples that select the class.
        n: samples that bound its probability.
        alpha: the probability that the bound is wrong, over the draw of the noise.
        count: how many of the n samples gave the selected class; None unless `finished`.
        p_lower: the bound on the probability of the selected class; None unless `finished`.
        evaluations: samples drawn, one image through one forward pass each.
        finished: all samples were drawn. Otherwise the deadline came first, and there is no bound: it holds
            for a number of samples chosen beforehand only.
    """

    index: int | None
    radius: float | None
    radius_linf: float | None
    sigma: float
    n0: int
    n: int
    alpha: float
    count: int | None
    p_lower: float | None
    evaluations: int
    finished: bool

    def to_dict(self, *, predicted: int, classes: Sequence[str] | None = None) -> dict[str, Any]:
        """The certificate as JSON values, with its meaning in words; a field without a value is None.

        Args:
            predicted: the class that the served model gives to the image itself.
            classes: names of the classes; their numbers without it.
        """
        label = None
        if self.index is not None:
            label = str(self.index) if classes is None else classes[self.index]
        return {"label": label, **asdict(self), "meaning": self.meaning(predicted=predicted)}

    def meaning(self, *, predicted: int) -> str:
        """Two or three sentences for people."""
        smoothed = (
            "the smoothed classifier, which answers what this model answers most often under Gaussian noise "
            f"of standard deviation {self.sigma:g}"
        )
        if self.radius is not None:
            answer = "the same class" if self.index == predicted else "another class than the model alone"
            return (
                f"With confidence {1.0 - self.alpha:.5g}, {smoothed}, gives {answer} to this image and keeps "
                f"its answer for every image closer than {_below(self.radius)} in l2, and so closer than "
                f"{_below(self.radius_linf)} in l-inf. That says nothing about the model alone."
            )
        abstains = f"No radius: {smoothed}, abstains."
        if self.finished:
            return (
                f"{abstains} With confidence {1.0 - self.alpha:.5g}, its class has a probability of "
                f"{_below(self.p_lower)} or more, and a radius needs more than one half. A smaller sigma or "
                "more samples may help."
            )
        return (
            f"{abstains} The time was up after {self.evaluations} of {self.n0 + self.n} samples, and a bound "
            "holds only for a number of samples that was chosen beforehand: allow more time, or ask for "
            "fewer samples."
        )


def _below(bound: float | None) -> str:
    """A lower bound with four digits, none of them rounded up: more than the bound was not proved."""
    return "none" if bound is None else f"{float(_FOUR_DIGITS.create_decimal_from_float(bound)):.4g}"
