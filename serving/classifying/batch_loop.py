"""Classifications that are over in a moment: computed in the event loop, for a thread would cost more."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Any, TypeAlias

from serving.classifying.batch import MOST_JOBS, Classification, Floats, T, Waiting, decoded, finish
from serving.models.model import Model

_Waiting: TypeAlias = Waiting[asyncio.Future[Any]]

LONGEST_S = 0.002
"""A batch keeps the loop from everything else for about so long: one that would take longer is cut short, and
a model that takes longer for one image is not computed here."""


class TurnedSlowError(Exception):
    """The model of a job that was waiting has become too slow for the event loop: a thread has to compute."""


class BatchLoop:
    """Takes what has come in one turn of the event loop as one batch, in that loop.

    Where a turn takes long, with hundreds of requests that are refused, it takes batches for as long.

    Args:
        on_batch: told the number of jobs of each batch.
        on_wait: told how long each job has waited, in seconds.
    """

    def __init__(
        self,
        *,
        on_batch: Callable[[int], None] = lambda _: None,
        on_wait: Callable[[float], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._on_batch = on_batch
        self._on_wait = on_wait
        self._clock = clock
        self._waiting: deque[_Waiting] = deque()
        self._asked = 0.0

    @staticmethod
    def takes(job: Classification[Any]) -> bool:
        """Whether a job belongs here: quickly decoded, for a model on this machine known to be quick."""
        return job.quick and job.model.is_local and _is_quick(job.model)

    async def run(self, job: Classification[T]) -> T:
        """The answer of a job.

        Raises:
            Problem: what it ends with.
            TurnedSlowError: it was not computed, for the model has become slow, or has failed, meanwhile.
        """
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        if not self._waiting:
            self._ask_for_a_turn()
        self._waiting.append(Waiting(job, future, self._clock()))
        return await future

    def _ask_for_a_turn(self) -> None:
        self._asked = self._clock()
        asyncio.get_running_loop().call_soon(self._compute)

    def _compute(self) -> None:
        begun = self._clock()
        # As long as everything else has had since: one batch a turn is next to nothing in a flood.
        until = begun + max(LONGEST_S, begun - self._asked)
        while self._waiting:
            self._compute_batch()
            if self._clock() >= until:
                break
        if self._waiting:
            self._ask_for_a_turn()

    def _compute_batch(self) -> None:
        taken: list[_Waiting] = []
        try:
            self._compute_some(taken)
        # What cannot be done for one batch may be possible for the next.
        except Exception as error:
            for one in taken:
                if not one.future.done():
                    one.future.set_exception(error)

    def _compute_some(self, taken: list[_Waiting]) -> None:
        """Computes a batch that begins with the first job; `taken` holds who waits for it."""
        batch: list[tuple[_Waiting, Floats]] = []
        model, begun, left = self._waiting[0].job.model, self._clock(), LONGEST_S
        while self._waiting and self._waiting[0].job.model is model and len(taken) < MOST_JOBS:
            if taken and self._clock() - begun > left:
                break
            one = self._waiting.popleft()
            # Cancelled, for its client has gone.
            if one.future.done():
                continue
            if not _is_quick(model):
                one.future.set_exception(TurnedSlowError())
                continue
            taken.append(one)
            self._on_wait(self._clock() - one.since)
            images = decoded(one)
            if images is not None:
                batch.append((one, images))
                left -= model.pace.seconds_per_image or 0.0
        if batch:
            self._on_batch(len(batch))
            finish(batch)


def _is_quick(model: Model) -> bool:
    seconds = model.pace.seconds_per_image
    return seconds is not None and seconds < LONGEST_S
