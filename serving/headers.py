"""The headers of a request, which are asked for a dozen times before it is answered."""

from __future__ import annotations

from typing import Any

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

MOST_FOUND_AT_ONCE = 100
"""Clients send some ten; of a head with millions there shall be no second copy."""


class RequestHeaders(Headers):
    """Starlette's headers, of which one is found by its name at once: there, all are walked through.

    Of a header that is there more than once the first counts.
    """

    def __init__(self, scope: Scope) -> None:
        super().__init__(scope=scope)
        self._first: dict[str, str] | None = None
        if len(self._list) <= MOST_FOUND_AT_ONCE:
            self._first = {
                name.decode("latin-1"): value.decode("latin-1") for name, value in reversed(self._list)
            }

    def __getitem__(self, name: str) -> str:
        return super().__getitem__(name) if self._first is None else self._first[name.lower()]

    def __contains__(self, name: Any) -> bool:
        return super().__contains__(name) if self._first is None else name.lower() in self._first

    def get(self, name: str, default: Any = None) -> Any:
        """The value of a header, or `default`."""
        if self._first is None:
            return super().get(name, default)
        return self._first.get(name.lower(), default)


class HeadedRequest(Request):
    """A request whose headers have been read already."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, *, headers: Headers) -> None:
        super().__init__(scope, receive, send)
        self._read = headers

    @property
    def headers(self) -> Headers:
        """Those that were read."""
        return self._read
