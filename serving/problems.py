"""Errors as RFC 9457 problem details, with codes that do not change."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, Self

from starlette.responses import Response

MEDIA_TYPE = "application/problem+json"
OPEN_INFERENCE = "v2"
"""The first part of every path of the Open Inference Protocol."""
MOST_SHOWN = 300
"""Characters of a text of the client's, such as a path, that are repeated in answers and in the log."""
MOST_DETAIL = 2000
MISTAKE = "the log says more, under this request_id: tell the operator"


class Kind(NamedTuple):
    """What stays the same about every problem with one code."""

    status: int
    title: str


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "bad_request": Kind(400, "The request cannot be understood"),
        "empty_body": Kind(400, "The body is empty"),
        "malformed_multipart": Kind(400, "The multipart body is malformed"),
        "malformed_inference_request": Kind(400, "The inference request is malformed"),
        "unauthorized": Kind(401, "A valid API key is needed"),
        "forbidden": Kind(403, "The API key does not cover this"),
        "public_without_keys": Kind(403, "This address is public, but the server has no keys"),
        "foreign_site": Kind(403, "Another web site asks a server without keys"),
        "probe_disabled": Kind(403, "Probing is switched off"),
        "not_found": Kind(404, "There is nothing at this path"),
        "model_not_found": Kind(404, "There is no such model"),
        "method_not_allowed": Kind(405, "This method is not accepted here"),
        "body_timeout": Kind(408, "The body did not arrive in time"),
        "body_too_large": Kind(413, "The body is too large"),
        "image_too_large": Kind(413, "The image has too many pixels"),
        "too_many_images": Kind(413, "There are too many images"),
        "unsupported_media_type": Kind(415, "This content type is not accepted"),
        "unsupported_image": Kind(415, "This is not an image of an accepted format"),
        "image_broken": Kind(422, "The image cannot be decoded"),
        "image_missing": Kind(422, "There is no image"),
        "invalid_parameter": Kind(422, "A parameter is not accepted"),
        "invalid_tensor": Kind(422, "A tensor is not accepted"),
        "rate_limited": Kind(429, "The API key is over its quota"),
        "internal_error": Kind(500, "The server made a mistake"),
        "overloaded": Kind(503, "The server is full"),
        "not_recorded": Kind(503, "The probe cannot be put on record"),
        "not_ready": Kind(503, "The server is not ready"),
        "model_unavailable": Kind(503, "The model cannot be loaded"),
        "engine_failed": Kind(503, "The engine did not answer"),
        "deadline_exceeded": Kind(504, "The deadline has passed"),
    }
)


class Problem(Exception):
    """An error to be answered as problem details.

    Args:
        code: one of `KINDS`; decides status and title.
        detail: what was wrong, what is accepted, what to do next; for people.
        headers: further response headers.
        extensions: further members of the JSON object, such as `limit` or `accepted`.
    """

    def __init__(
        self, code: str, detail: str, *, headers: Mapping[str, str] | None = None, **extensions: object
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.status, self.title = KINDS[code]
        self.detail = detail
        self.headers = dict(headers or {})
        self.extensions = extensions

    def to_dict(self) -> dict[str, object]:
        """What another process needs to raise it again."""
        return {"code": self.code, "detail": self.detail, "headers": self.headers, **self.extensions}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The problem that `to_dict` describes."""
        return cls(**values)

    def body(self, *, request_id: str, path: str) -> dict[str, object]:
        """The JSON object of this problem in answer to one request."""
        # Clients of the Open Inference Protocol look for the sentence here.
        detail = shown(self.detail, most=MOST_DETAIL)
        error = {"error": detail} if path.split("/")[1:2] == [OPEN_INFERENCE] else {}
        return {
            "type": f"/docs#{self.code}",
            "title": self.title,
            "status": self.status,
            "detail": detail,
            "instance": shown(path),
            "code": self.code,
            "request_id": request_id,
            **error,
            **self.extensions,
        }

    def response(self, *, request_id: str, path: str, **members: object) -> Response:
        """The HTTP response; `members` are added to the object."""
        # ASCII, because names taken from a request may hold lone surrogates, which UTF-8 cannot encode.
        content = json.dumps(self.body(request_id=request_id, path=path) | members)
        return Response(content, status_code=self.status, headers=self.headers, media_type=MEDIA_TYPE)


def shown(text: str, *, most: int = MOST_SHOWN) -> str:
    """At most so many characters of a text, the last of them an ellipsis if there were more."""
    return text if len(text) <= most else text[: most - 1] + "…"


def engine_failed() -> Problem:
    """The problem of an engine that did not answer; asking again may help."""
    return Problem("engine_failed", "the engine did not answer: try again", headers={"Retry-After": "1"})


def deadline_exceeded(detail: str) -> Problem:
    """The problem of an answer that is not there in time; `detail` says what was waited for."""
    return Problem("deadline_exceeded", f"{detail}: try again later", headers={"Retry-After": "1"})
