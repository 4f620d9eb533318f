"""What classifications of every protocol share: finding the model and computing, by one deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from starlette.requests import Request

from serving.lanes import Place
from serving.models import Model
from serving.runtime import runtime_of

T = TypeVar("T")
Late = Callable[[], bool]


async def classify_in_time(
    request: Request, place: Place, reference: str | None, job: Callable[[Model, Late], T]
) -> T:
    """What `job(model, late)` returns, computed in a thread of the lane. The time begins when this is called.

    Args:
        reference: the model that is asked for, as `Runtime.model` takes it; errors name it from then on.
        job: asks `late()` before each part of its work whether the answer would come too late.

    Raises:
        Problem: what `job` raises, and that of `Runtime.model` and `Place.run`.
    """
    runtime = runtime_of(request)
    deadline = runtime.classify_deadline()
    model = await runtime.model(reference, deadline=deadline)
    request.state.model = model.identity
    return await place.run(
        lambda: job(model, lambda: time.monotonic() >= deadline),
        deadline_s=max(0.0, deadline - time.monotonic()),
    )
