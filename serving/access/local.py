"""Who may ask a server without keys on loopback: this machine's programs, and no page of another web site.

A browser sends what any page tells it to, also to 127.0.0.1. The page of another site is known by its
`Origin`, or by what the browser says about it in `Sec-Fetch-Site`. A name of another site that leads to
127.0.0.1 for a moment (DNS rebinding) makes its page one of ours to the browser, which would let it read the
answers: such a request is known by its `Host`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Container
from functools import lru_cache

from starlette.datastructures import Headers

from serving.problems import Problem

READING = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change and compute nothing; the browser keeps the answers from pages of other sites."""
OPEN_TO_ALL_NAMES = frozenset({"/metrics"})
"""Looked at by programs, under whatever name they have for this machine, and without a word on any image."""
OWN_PAGES = frozenset({"same-origin", "none"})
_MOST_SHOWN = 100
_LONGEST_NAME = 253


def check_local(method: str, path: str, headers: Headers, allowed_hosts: Container[str]) -> None:
    """Lets a request in that comes from this machine, as far as can be known from its head.

    Args:
        allowed_hosts: further names of this server, in lower case and without a port.

    Raises:
        Problem: foreign_site.
    """
    if path not in OPEN_TO_ALL_NAMES:
        for host in headers.getlist("host"):
            if not _is_own(name_of(host), allowed_hosts):
                raise _foreign(
                    f"this was sent to the host {host[:_MOST_SHOWN]!r}: send it to 127.0.0.1 or localhost, "
                    "or, if that is another name of this server, such as that of a proxy in front of it, "
                    "name it in CLEAD_ALLOWED_HOSTS"
                )
    if method in READING:
        return
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    advice = "use the page below /ui/ of this server, or a program that is no browser"
    if site is not None:
        if site in OWN_PAGES:
            return
    elif origin is None or _leads_here(origin, headers.get("host", ""), allowed_hosts):
        return
    else:
        # A proxy that sends its own `Host` here hides that the page is ours.
        advice += ", or, if this is that page behind a proxy, name the proxy's host in CLEAD_ALLOWED_HOSTS"
    page = (origin or site or "")[:_MOST_SHOWN]
    raise _foreign(f"this was sent by a web page of another origin ({page!r}): {advice}")


def name_of(authority: str) -> str:
    """The host in `HOST` or `HOST:PORT`, in lower case, an IPv6 address without its brackets."""
    authority = authority.strip().lower()
    if authority.startswith("["):
        return authority[1:].partition("]")[0]
    name, _, port = authority.rpartition(":")
    return (name if port.isdigit() or (not port and name) else authority).rstrip(".")


@lru_cache(maxsize=64)
def is_loopback(name: str) -> bool:
    """Whether a name or an address leads to the machine itself, wherever it is asked for."""
    # Browsers and systems never ask the DNS for these (RFC 6761).
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _is_own(name: str, allowed_hosts: Container[str]) -> bool:
    # A longer one is no name (RFC 1035), and would be kept with those that are remembered.
    return len(name) <= _LONGEST_NAME and (name in allowed_hosts or is_loopback(name))


def _leads_here(origin: str, host: str, allowed_hosts: Container[str]) -> bool:
    """Whether a page has the address that it sends to, or that of a proxy with which it may have another."""
    authority = origin.partition("://")[2].lower()
    return bool(authority) and (authority == host.lower() or name_of(authority) in allowed_hosts)


def _foreign(reason: str) -> Problem:
    return Problem(
        "foreign_site",
        f"a server without keys answers the programs of its own machine and its own page, and {reason}; with "
        "CLEAD_KEYS or CLEAD_KEYS_FILE the keys decide instead",
    )
