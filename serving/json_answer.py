"""Answers in JSON."""

from __future__ import annotations

import json
from typing import Any

from starlette.responses import Response

# Starlette's JSONResponse builds one for every answer, which takes as long as encoding does.
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


class JsonAnswer(Response):
    """JSON values, compact and in UTF-8; ValueError for numbers that JSON has no name for."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """The bytes of the body."""
        return _ENCODER.encode(content).encode()
