"""Who may use the server: API keys, compared in constant time, and no public address without them."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
from collections.abc import Iterable

from starlette.datastructures import Headers

from serving.problems import Problem
from serving.settings import SHA256_PATTERN, Settings, SettingsError

PUBLIC_WITHOUT_KEYS = (
    "set CLEAD_KEYS or CLEAD_KEYS_FILE, listen on 127.0.0.1, or, if everybody may use it, set "
    "CLEAD_ALLOW_PUBLIC=1"
)


class KeyRing:
    """The accepted keys, known only by their sha256. An empty ring lets everybody in."""

    def __init__(self, digests: Iterable[str]) -> None:
        self._digests = tuple(bytes.fromhex(digest) for digest in digests)

    def __bool__(self) -> bool:
        return bool(self._digests)

    def admit(self, headers: Headers) -> None:
        """Checks `Authorization: Bearer KEY` or `X-API-Key: KEY`.

        Raises:
            Problem: unauthorized.
        """
        if not self._digests:
            return
        presented = hashlib.sha256(_presented(headers).encode("utf-8", "surrogateescape")).digest()
        # Every key is compared, so that the time does not tell which one was near.
        matches = [hmac.compare_digest(presented, digest) for digest in self._digests]
        if not any(matches):
            raise Problem(
                "unauthorized",
                "send a valid key as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'",
                headers={"WWW-Authenticate": "Bearer"},
            )


def load_keys(settings: Settings) -> KeyRing:
    """The keys of the settings and of the keys file.

    Raises:
        SettingsError: the file cannot be read or a line is not a sha256.
    """
    return KeyRing([*settings.keys, *_from_file(settings)])


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


def is_public(host: str) -> bool:
    """Whether an address of this machine can be reached from others. Socket paths count as private."""
    try:
        return not ipaddress.ip_address(host.split("%")[0]).is_loopback
    except ValueError:
        return False


def _presented(headers: Headers) -> str:
    scheme, _, credentials = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return credentials.strip()
    return headers.get("x-api-key", "").strip()


def _from_file(settings: Settings) -> list[str]:
    if settings.keys_file is None:
        return []
    try:
        lines = settings.keys_file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"keys_file {settings.keys_file} cannot be read: {error}") from None
    digests = []
    for number, line in enumerate(lines, start=1):
        digest = line.split("#")[0].strip().lower()
        if not digest:
            continue
        if not re.fullmatch(SHA256_PATTERN, digest):
            raise SettingsError(
                f"keys_file {settings.keys_file}, line {number}: not a sha256 in hexadecimal; make one with "
                "printf %s KEY | sha256sum"
            )
        digests.append(digest)
    return digests
