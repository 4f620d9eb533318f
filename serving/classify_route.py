"""POST /classify."""

from __future__ import annotations

import time
from functools import partial

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from serving.body import read_upload
from serving.classification import classify as classify_images
from serving.parameters import classify_parameters
from serving.runtime import runtime_of


async def classify(request: Request) -> Response:
    """Classifies one image (raw body) or several (multipart), as one batch."""
    runtime = runtime_of(request)
    settings = runtime.settings
    with runtime.classify_lane.admit() as place:
        upload = await read_upload(
            request,
            max_bytes=settings.max_body_bytes,
            max_images=settings.max_images,
            deadline_s=settings.body_deadline_ms / 1000,
        )
        deadline = time.monotonic() + settings.classify_deadline_ms / 1000
        parameters = classify_parameters(request.query_params.multi_items(), upload.fields)
        model = await runtime.model(parameters.model, deadline=deadline)
        request.state.model = model.identity
        job = partial(
            classify_images,
            upload.images,
            model,
            top=parameters.top,
            max_pixels=settings.max_pixels,
            late=lambda: time.monotonic() >= deadline,
        )
        predictions = await place.run(job, deadline_s=max(0.0, deadline - time.monotonic()))
    runtime.metrics.images.inc(len(predictions))
    return JSONResponse({"model": model.identity, "predictions": predictions})
