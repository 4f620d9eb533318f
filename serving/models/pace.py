"""How long a model takes."""

from __future__ import annotations

_SMOOTHING = 0.2
_MOST_TIMES = 4.0
"""A batch that takes longer was more likely kept off the processor, and counts as so many times the pace: one
does not make a model slow, some in a row do."""


class Pace:
    """Seconds that a model takes for an image, as its latest batches have shown.

    `seconds_per_image` is None before the first, and after one that failed. Noted from several threads: the
    last one wins.
    """

    def __init__(self) -> None:
        self.seconds_per_image: float | None = None

    def note(self, images: int, seconds: float) -> None:
        """A batch of so many images (1 or more) has taken so long."""
        latest, known = seconds / images, self.seconds_per_image
        if known is not None:
            latest = known + _SMOOTHING * (min(latest, _MOST_TIMES * known) - known)
        self.seconds_per_image = latest

    def forget(self) -> None:
        """A batch has failed: how long the next one takes is not known."""
        self.seconds_per_image = None
