"""BentoML as its documentation shows it, with all defaults but the number of workers."""

from __future__ import annotations

import os
from typing import Any

import bentoml
from PIL.Image import Image

from benchmarks.serving_load.servers.work import WORKERS, Work


@bentoml.service(workers=int(os.environ.get(WORKERS, "1")))
class Stock:
    """One model, one route."""

    def __init__(self) -> None:
        self._work = Work()

    @bentoml.api  # type: ignore[untyped-decorator]
    def classify(self, image: Image) -> dict[str, Any]:
        """POST /classify, multipart with a file named image."""
        return self._work.classify_image(image)
