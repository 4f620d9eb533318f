"""What classifications of every protocol share: finding the model and computing, by one deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeAlias, TypeVar

from starlette.requests import Request

from serving.classifying.batch import Classification
from serving.classifying.batch_loop import BatchLoop, TurnedSlowError
from serving.lanes import Place
from serving.models.model import Model
from serving.observing.tracing import trace_of
from serving.runtime import runtime_of

T = TypeVar("T")
Late: TypeAlias = Callable[[], bool]


async def classify_in_time(
    request: Request,
    place: Place[Classification[T]],
    reference: str | None,
    job: Callable[[Model, Late], Classification[T]],
) -> T:
    """The answer of `job(model, late)`, computed in the lane. The time begins when this is called.

    Args:
        reference: the model that is asked for, as `Runtime.model` takes it; errors name it from then on.
        job: its parts may ask `late()` whether the answer would come too late.

    Raises:
        Problem: what the job raises, and that of `Runtime.model` and `Place.run`.
    """
    runtime = runtime_of(request)
    deadline = runtime.classify_deadline()
    model = await runtime.model(reference, deadline=deadline)
    request.state.model = model.identity
    classification = job(model, lambda: time.monotonic() >= deadline)
    if (trace := trace_of(request.scope)) is not None:
        classification = trace.classification(classification)
    if BatchLoop.takes(classification):
        ended = runtime.classify_lane.begin()
        try:
            return await runtime.batch_loop.run(classification)
        except TurnedSlowError:
            pass
        finally:
            ended()
    left_s = max(0.0, deadline - time.monotonic())
    answer: T = await place.run(classification, deadline_s=left_s, slow=classification.slow)
    return answer
