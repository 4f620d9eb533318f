"""Who may do what: scopes of paths, admission by key and quota, and no public address without keys."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from functools import lru_cache

from starlette.datastructures import Headers
from starlette.requests import Request

from serving.access.buckets import IDENTITY_BYTES, Buckets
from serving.access.keys import ApiKey, KeysError, Scope
from serving.access.keys_watch import WatchedKeys
from serving.access.quota import Draw, Quota, seconds
from serving.problems import Problem
from serving.settings import Settings, SettingsError
from serving.shared_folder import shared_folder

PUBLIC_WITHOUT_KEYS = (
    "set CLEAD_KEYS or CLEAD_KEYS_FILE, listen on 127.0.0.1, or, if everybody may use it, set "
    "CLEAD_ALLOW_PUBLIC=1"
)
OPEN_PATHS = frozenset(
    {"/", "/ui", "/livez", "/readyz", "/docs", "/openapi.json", "/v2/health/live", "/v2/health/ready"}
)
OPEN_PREFIX = "/ui/"
"""Below it lie the files of the page, which are the same for everybody."""
SCOPED_PATHS: tuple[tuple[str, Scope], ...] = (
    ("/classify", "classify"),
    ("/probe", "probe"),
    ("/v2", "classify"),
)
"""The scope that a path, and everything below it, needs. Any valid key opens the paths not listed."""
IMAGES_PARAMETER = "include"
"""The parameter of /probe that asks for adversarial images, and so for the scope `probe:images`."""
UNCOUNTED_RETRY_S = 5


class Access:
    """Decides about requests from their path and headers alone, before any body is read."""

    def __init__(self, keys: WatchedKeys, buckets: Buckets) -> None:
        self._keys = keys
        self._buckets = buckets

    @property
    def asks_for_keys(self) -> bool:
        """Whether a key is needed; it stays so while the server runs."""
        return bool(self._keys.ring)

    async def watch(self) -> None:
        """Takes up changes of the keys file for as long as the server runs."""
        await self._keys.watch()

    def close(self) -> None:
        """Closes what is shared with the other workers."""
        self._buckets.close()

    def authenticate(self, headers: Headers) -> ApiKey | None:
        """The key in `Authorization: Bearer KEY` or `X-API-Key: KEY`; None where no key is asked for.

        Raises:
            Problem: unauthorized.
        """
        ring = self._keys.ring
        if not ring:
            return None
        key = ring.find(_presented(headers))
        if key is None:
            raise Problem(
                "unauthorized",
                "send a valid key as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'",
                headers={"WWW-Authenticate": "Bearer"},
            )
        return key

    def authorize(self, key: ApiKey | None, path: str) -> Mapping[str, str]:
        """Checks the scope that the path needs, and draws one request from the key's quota.

        Returns:
            Headers that tell the client about its quota; none without one.

        Raises:
            Problem: forbidden, rate_limited with Retry-After, or not_ready where the disk is full.
        """
        scope = scope_of(path)
        if scope is not None:
            check_scope(key, scope)
        if key is None or key.quota is None:
            return {}
        try:
            drawn = self._buckets.draw(key.digest[:IDENTITY_BYTES], key.quota)
        # Granted without being counted, it would be above the quota.
        except OSError as error:
            raise Problem(
                "not_ready",
                f"requests of the key {key.name!r} cannot be counted in the server's temporary folder: "
                f"{error.strerror}; try again in {UNCOUNTED_RETRY_S} s, or tell the operator",
                headers={"Retry-After": str(UNCOUNTED_RETRY_S)},
            ) from None
        told = _quota_headers(key.quota, drawn)
        if drawn.wait:
            wait = seconds(drawn.wait)
            raise Problem(
                "rate_limited",
                f"the key {key.name!r} may send {key.quota}: try again in {wait} s",
                headers={"Retry-After": str(wait), **told},
            )
        return told


def load_access(settings: Settings, *, on_fault: Callable[[bool], None] = lambda _: None) -> Access:
    """The keys of the settings and of the keys file, and the buckets that the workers of this server share.

    Args:
        on_fault: told whether the keys file, as it is now, cannot be used.

    Raises:
        SettingsError: the keys file cannot be read, holds no key, or a line of it is not accepted.
    """
    folder = shared_folder()
    try:
        keys = WatchedKeys(
            settings.keys,
            settings.keys_file,
            copy=None if folder is None else folder / "keys",
            on_fault=on_fault,
        )
    except KeysError as error:
        raise SettingsError(str(error)) from None
    return Access(keys, Buckets(None if folder is None else folder / "buckets"))


def is_open(path: str) -> bool:
    """Whether a path is answered without a key."""
    return path in OPEN_PATHS or path.startswith(OPEN_PREFIX)


def scope_of(path: str) -> Scope | None:
    """The scope that a path needs; None where any valid key will do."""
    for prefix, scope in SCOPED_PATHS:
        if path == prefix or path.startswith(prefix + "/"):
            return scope
    return None


def check_scope(key: ApiKey | None, scope: Scope) -> None:
    """Raises Problem forbidden for a key without the scope; without keys everything is allowed."""
    if key is not None and scope not in key.scopes:
        raise Problem(
            "forbidden",
            f"the key {key.name!r} has the scopes {', '.join(sorted(key.scopes))}, and this needs {scope}: "
            "ask the operator for a key that has it"
            + (f", or leave out {IMAGES_PARAMETER}" if scope == "probe:images" else ""),
            headers={"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{scope}"'},
            scope=scope,
        )


def key_of(request: Request) -> ApiKey | None:
    """The key that a request was admitted by."""
    key: ApiKey | None = getattr(request.state, "key", None)
    return key


def caller_of(key: ApiKey | None, client: tuple[str, int] | None) -> str:
    """Who a request counts for: the name of its key, or else the address that it comes from."""
    if key is not None:
        return f"key {key.name}"
    return _network_of(client[0] if client else "")


def check_binding(settings: Settings, *, host: str, has_keys: bool) -> None:
    """Refuses to listen where other machines can connect while everybody would be let in.

    Args:
        host: the IP address that will be listened on, whoever chose it.
        has_keys: whether there is a key to be asked for.

    Raises:
        SettingsError: with what to do instead.
    """
    if not (has_keys or settings.allow_public) and is_public(host):
        raise SettingsError(f"refusing to serve on {host} without keys: {PUBLIC_WITHOUT_KEYS}")


@lru_cache(maxsize=64)
def is_public(host: str) -> bool:
    """Whether an address of this machine can be reached from others. Socket paths count as private."""
    try:
        return not ipaddress.ip_address(host.split("%")[0]).is_loopback
    except ValueError:
        return False


@lru_cache(maxsize=1024)
def _network_of(host: str) -> str:
    try:
        address = ipaddress.ip_address(host.split("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv4Address):
        return host
    # How a socket for both families names a client of IPv4.
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    # Whoever has one address of IPv6 has the whole network of it.
    return str(ipaddress.ip_network((address, 64), strict=False))


def _presented(headers: Headers) -> str:
    scheme, _, credentials = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return credentials.strip()
    return headers.get("x-api-key", "").strip()


def _quota_headers(quota: Quota, drawn: Draw) -> Mapping[str, str]:
    # draft-ietf-httpapi-ratelimit-headers-10: quota q in window w; r remain, all are back in t seconds.
    return {
        "RateLimit-Policy": f'"key";q={quota.burst};w={quota.window_s}',
        "RateLimit": f'"key";r={drawn.remaining};t={seconds(drawn.full_in)}',
    }
