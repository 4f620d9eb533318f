"""One batch: jobs of one model that are computed together, each with an answer or an error of its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from engines.engine import EngineError
from serving.models.model import Model
from serving.problems import Problem, deadline_exceeded, engine_failed

T = TypeVar("T")
F = TypeVar("F", Future[Any], asyncio.Future[Any])
Floats: TypeAlias = NDArray[np.float32]

MOST_JOBS = 32
MOST_IMAGES = 32
"""A batch that has so many takes no more jobs: what images take in memory is bounded by it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Classification(Generic[T]):
    """One request's share of a batch.

    Attributes:
        model: what computes; a batch has one model.
        images: decodes the upload, to float32[n, 3, H, W] for any n of 1 or more.
        answer: makes the answer from the logits float32[n, K] of these images.
        late: whether the answer would come too late.
        quick: whether `images` takes less time than handing it to a thread would.
        slow: whether it takes longer than others should wait for the answer to be computed with it.
        heavy: whether it takes so much memory that no two of the kind should run at the same time.
    """

    model: Model
    images: Callable[[], Floats]
    answer: Callable[[Floats], T]
    late: Callable[[], bool] = lambda: False
    quick: bool = False
    slow: bool = False
    heavy: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Waiting(Generic[F]):
    """A job, who waits for it, and since when on the monotonic clock."""

    job: Classification[Any]
    future: F
    since: float


def decoded(one: Waiting[F]) -> Floats | None:
    """The images of a job; None once it has ended with an error."""
    try:
        images = one.job.images()
        if one.job.late():
            raise deadline_exceeded("the images were not classified before the deadline")
        return images
    except Exception as error:
        one.future.set_exception(error)
        return None


def finish(batch: Sequence[tuple[Waiting[F], Floats]]) -> None:
    """Computes jobs with their images, all of one model, and tells those who wait."""
    model = batch[0][0].job.model
    outcomes = compute(model, [(one.job, images) for one, images in batch])
    for (one, _), outcome in zip(batch, outcomes, strict=True):
        if isinstance(outcome, BaseException):
            one.future.set_exception(outcome)
        else:
            one.future.set_result(outcome)


def compute(model: Model, batch: Sequence[tuple[Classification[Any], Floats]]) -> list[Any]:
    """The answer to each job and its images, or the exception that it ended with; all are for one model."""
    images = [images for _, images in batch]
    try:
        together = images[0] if len(images) == 1 else np.concatenate(images)
        begun = time.perf_counter()
        logits = model.engine.logits(together)
        model.pace.note(len(together), time.perf_counter() - begun)
    except EngineError as error:
        model.pace.forget()
        failed = engine_failed()
        failed.__cause__ = error
        return [failed] * len(batch)
    # A mistake, or no memory: the requests of this batch hear of it, and the next batch is computed.
    except Exception as error:
        model.pace.forget()
        return [error] * len(batch)
    answers, begin = [], 0
    for job, one in batch:
        answers.append(_answer(job, logits[begin : begin + len(one)]))
        begin += len(one)
    return answers


def _answer(job: Classification[T], logits: Floats) -> T | Exception:
    try:
        if not np.isfinite(logits).all():
            raise Problem(
                "engine_failed", "the engine answered with numbers that are not finite: tell the operator"
            )
        return job.answer(logits)
    # Whatever it is belongs to this request alone.
    except Exception as error:
        return error
