"""Answers in JSON."""

from __future__ import annotations

import json
from typing import Any

from pydantic_core import to_json
from starlette.responses import Response

_STRICT = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


class JsonAnswer(Response):
    """JSON values, compact and in UTF-8; ValueError for numbers that JSON has no name for."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """The bytes of the body."""
        body = to_json(content)
        # Fast, but it makes up names for such numbers. A text may hold them as well.
        if b"NaN" in body or b"Infinity" in body:
            body = _STRICT.encode(content).encode()
        return body
