"""API keys: what is known about each, the entries they are written as, and finding the one presented."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, cast, get_args

from serving.access.quota import Quota, parse_quota

Scope = Literal["classify", "probe", "probe:images"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
PREFIX = "clead_"
"""What every new key begins with, so that scanners for leaked secrets know one."""
_OPTIONS = ("name", "scope", "rate", "burst")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[A-Za-z0-9._@-]{1,64}")
_NAMED_BY_DIGITS = 12
_FOUND_BY_BYTES = 8


class KeysError(ValueError):
    """An entry or a file of keys is not accepted. The message never repeats what may be a key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """One key, known by its sha256 only.

    A plain sha256 is enough because keys are random: nobody can try 2^128 of them. It would be no protection
    for a password.
    """

    digest: bytes
    name: str
    scopes: frozenset[Scope]
    quota: Quota | None


class KeyRing:
    """The accepted keys. An empty ring means that no key is asked for.

    Raises:
        KeysError: two different entries for one key, or two keys with one name.
    """

    def __init__(self, keys: Iterable[ApiKey]) -> None:
        by_digest: dict[bytes, ApiKey] = {}
        names: dict[str, bytes] = {}
        for key in keys:
            if by_digest.setdefault(key.digest, key) != key:
                raise KeysError(f"the key {key.name!r} has two different entries: keep one of them")
            if names.setdefault(key.name, key.digest) != key.digest:
                raise KeysError(f"two keys are named {key.name!r}: give each a name of its own")
        self._length = len(by_digest)
        self._keys: dict[bytes, list[ApiKey]] = {}
        for digest, key in by_digest.items():
            self._keys.setdefault(digest[:_FOUND_BY_BYTES], []).append(key)

    def __len__(self) -> int:
        return self._length

    def find(self, presented: str) -> ApiKey | None:
        """The key that was presented, or None. Takes as long with one key as with thousands."""
        digest = hashlib.sha256(presented.encode("utf-8", "surrogateescape")).digest()
        # The time may tell that these bytes belong to some key's digest. To present others with the same ones
        # takes 2^64 tries, and whoever had them would know nothing of the key.
        near = self._keys.get(digest[:_FOUND_BY_BYTES], ())
        return next((key for key in near if hmac.compare_digest(digest, key.digest)), None)


def new_key() -> str:
    """A new random key of 256 bits."""
    return PREFIX + secrets.token_urlsafe(32)


def entry_of(
    key: str, *, name: str | None, scopes: Iterable[str], rate: str | None, burst: int | None
) -> str:
    """The entry of a key, for the keys file or CLEAD_KEYS.

    Raises:
        KeysError: the name, a scope or the rate is not accepted.
    """
    words = [hashlib.sha256(key.encode()).hexdigest()]
    words += [] if name is None else [f"name={_name(name)}"]
    words += [f"scope={scope}" for scope in sorted(_scopes(scopes))]
    _quota(rate, None if burst is None else str(burst))
    words += [] if rate is None else [f"rate={rate}"]
    words += [] if burst is None else [f"burst={burst}"]
    return " ".join(words)


def parse_entry(text: str) -> ApiKey:
    """Reads `SHA256 [name=NAME] [scope=SCOPE]... [rate=N/s|N/min|N/h] [burst=N]`.

    Without a name it is the first digits of the sha256, without scopes all of them, without a rate no limit.

    Raises:
        KeysError: says which word is wrong and what is accepted.
    """
    words = text.split()
    digest = words[0].lower() if words else ""
    if not _SHA256.fullmatch(digest):
        raise KeysError(
            "the first word is not a sha256 in hexadecimal: clead keys new makes a key and its entry, and "
            "printf %s KEY | sha256sum hashes one"
        )
    given: dict[str, list[str]] = {}
    for number, word in enumerate(words[1:], start=2):
        option, equals, value = word.partition("=")
        if option not in _OPTIONS or not equals:
            raise KeysError(f"word {number} is none of {', '.join(f'{name}=' for name in _OPTIONS)}")
        if option in given and option != "scope":
            raise KeysError(f"{option}= is given twice")
        given.setdefault(option, []).append(value)
    return ApiKey(
        digest=bytes.fromhex(digest),
        name=_name(given.get("name", [digest[:_NAMED_BY_DIGITS]])[0]),
        scopes=_scopes(given.get("scope", list(SCOPES))),
        quota=_quota(given.get("rate", [None])[0], given.get("burst", [None])[0]),
    )


def parse_lines(text: str) -> list[ApiKey]:
    """The keys of a file: an entry a line; `#` begins a comment.

    Raises:
        KeysError: a line is not an entry.
    """
    keys = []
    for number, line in enumerate(text.splitlines(), start=1):
        if entry := line.split("#")[0].strip():
            try:
                keys.append(parse_entry(entry))
            except KeysError as error:
                raise KeysError(f"line {number}: {error}") from None
    return keys


def _name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise KeysError("name= takes 1 to 64 letters, digits, '.', '_', '@' and '-'")
    return name


def _scopes(words: Iterable[str]) -> frozenset[Scope]:
    scopes = frozenset(words)
    if scopes - set(SCOPES):
        raise KeysError(f"a scope is not known; accepted are: {', '.join(SCOPES)}")
    if "probe:images" in scopes and "probe" not in scopes:
        raise KeysError("scope=probe:images is for probes: give scope=probe as well")
    return cast(frozenset[Scope], scopes)


def _quota(rate: str | None, burst: str | None) -> Quota | None:
    if rate is None:
        if burst is not None:
            raise KeysError("burst= goes with a rate: give rate= as well")
        return None
    try:
        return parse_quota(rate, burst)
    except ValueError as error:
        raise KeysError(str(error)) from None
