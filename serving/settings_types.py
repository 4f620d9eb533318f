"""The types of settings that take more than one word, and how their texts are read."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from serving.access.keys import KeyRing, KeysError, parse_entry

_HOST_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")


def _listed(value: object) -> object:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return tuple(value) if isinstance(value, list) else value


def _key_entries(entries: tuple[str, ...]) -> tuple[str, ...]:
    keys = []
    for number, entry in enumerate(entries, start=1):
        try:
            keys.append(parse_entry(entry))
        except KeysError as error:
            raise ValueError(f"key {number}: {error}") from None
    KeyRing(keys)
    return entries


def _host_names(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(_host_name(name) for name in names)


def _host_name(name: str) -> str:
    try:
        # An address of IPv6 can be written in many ways; browsers send this one.
        return str(ipaddress.ip_address(name))
    except ValueError:
        pass
    if not _HOST_NAME.fullmatch(name):
        raise ValueError(
            f"{name!r} is no host name: give names as example.com, and addresses as 10.0.0.5 or fd00::5, "
            "without scheme and port"
        )
    return name.lower().rstrip(".")


def _absent_when_empty(value: object) -> object:
    return None if value == "" else value


Count = Annotated[int, Field(ge=1)]
Milliseconds = Annotated[int, Field(ge=1, le=3_600_000)]
HostNames = Annotated[tuple[str, ...], BeforeValidator(_listed), AfterValidator(_host_names)]
KeyEntries = Annotated[tuple[str, ...], BeforeValidator(_listed), AfterValidator(_key_entries)]
Optional_ = BeforeValidator(_absent_when_empty)
