"""How a set was probed: what a reader needs to understand the figures and to repeat them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from probes.request import ProbeRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What was the same for every image of a set.

    Attributes:
        model: name, version and sha256.
        classes: labels of the model by index.
        provider: what computed.
        labelled: whether the true classes are known.
        label_origin: where they come from, or why there are none.
        deadline_s: for each image.
        command: the command line.
        made: when, and by which version of this program.
    """

    model: Mapping[str, str]
    classes: tuple[str, ...]
    provider: str
    request: ProbeRequest
    labelled: bool
    label_origin: str
    deadline_s: float
    command: str
    made: str

    @property
    def target(self) -> str | None:
        """The class to be reached; None where any other will do."""
        return None if self.request.target is None else self.classes[self.request.target]

    @property
    def about(self) -> str:
        """What "flipped" is about, in a sentence or two."""
        if self.target is not None:
            return (
                f"Flipped means here that the model answers {self.target}; any other answer, right or wrong, "
                "does not count. An image that gets this answer without "
                "any change counts as flipped at eps 0."
            )
        if self.labelled:
            return (
                f"Robustness is about the true class of each image ({self.label_origin}). An image that the "
                "model misclassifies counts as flipped at eps 0."
            )
        return (
            "Robustness is about the model's own answer for each image, right or wrong "
            f"({self.label_origin}): a wrong answer can be robust."
        )
