"""POST /classify."""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.responses import Response

from serving.classifying.batch import Classification, Floats
from serving.classifying.classification import Prediction, predictions, prepare_all, prepare_opened
from serving.classifying.in_time import Late, classify_in_time
from serving.json_answer import JsonAnswer
from serving.models.model import Model
from serving.parameters import classify_parameters
from serving.runtime import runtime_of
from serving.uploads.body import read_upload
from serving.uploads.image_cost import QUICK, decoding_cost
from serving.uploads.images import open_quick_image
from serving.uploads.png import png_data_url


async def classify(request: Request) -> Response:
    """Classifies one image (raw body) or several (multipart), in one batch."""
    runtime = runtime_of(request)
    settings = runtime.settings
    upload = await read_upload(
        request,
        max_bytes=settings.max_body_bytes,
        max_images=settings.max_images,
        deadline_s=settings.body_deadline_ms / 1000,
    )
    parameters = classify_parameters(request.query_params.multi_items(), upload.fields)
    with runtime.classify_lane.admit() as place:
        first, *others = upload.images
        quick = None if others else open_quick_image(first, max_pixels=settings.max_pixels)
        seen: list[Floats] = []

        def job(model: Model, late: Late) -> Classification[list[Prediction]]:
            def images() -> Floats:
                if quick is not None:
                    prepared = prepare_opened(quick, model)
                else:
                    prepared = prepare_all(upload.images, model, max_pixels=settings.max_pixels, late=late)
                if parameters.with_input:
                    seen.extend(prepared)
                return prepared

            side = model.bundle.manifest.input.resize
            cost = decoding_cost(upload.images, shorter_side=side) if quick is None else QUICK
            return Classification(
                model=model,
                images=images,
                answer=lambda logits: predictions(logits, model.classes, top=parameters.top),
                late=late,
                quick=quick is not None,
                slow=cost.slow,
                heavy=cost.heavy,
            )

        found = await classify_in_time(request, place, parameters.model, job)
        inputs = await asyncio.to_thread(lambda: [png_data_url(image) for image in seen]) if seen else None
    runtime.later(runtime.metrics.images.inc, len(found))
    answer: dict[str, object] = {"model": request.state.model, "predictions": found}
    return JsonAnswer(answer if inputs is None else answer | {"inputs": inputs})
