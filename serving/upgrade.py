"""Requests with a body that offer another protocol (`Upgrade: h2c`): refused, for their body cannot be read.

The HTTP parser below takes what follows such a head for the other protocol: what has come already is thrown
away, and the rest would be read as further requests, which whoever wrote the body could have a proxy send in
another client's name. Without a body nothing is lost: the offer is not taken up, as HTTP allows.
"""

from __future__ import annotations

from starlette.datastructures import Headers

from serving.problems import Problem


def is_offered(headers: Headers) -> bool:
    """Whether the parser below takes what follows a head for another protocol."""
    if "upgrade" not in headers:
        return False
    # It looks at both.
    named = (*headers.getlist("connection"), *headers.getlist("proxy-connection"))
    return any("upgrade" in value.lower() for value in named)


def loses_body(method: str, headers: Headers) -> bool:
    """Whether the parser below takes the body of a request for something else."""
    left = is_offered(headers) or method == "CONNECT"
    return left and (headers.get("content-length", "0") != "0" or "transfer-encoding" in headers)


def upgrade_with_body() -> Problem:
    """The problem of such a request."""
    return Problem(
        "bad_request",
        "a request with a body cannot ask for another protocol here: send it as HTTP/1.1, without 'Upgrade' "
        "(curl: --http1.1; Java: HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1))",
    )
