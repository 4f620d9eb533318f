"""Who is let in, to what, how often; and addresses that others can reach."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
from pathlib import Path

import httpx
import pytest
from starlette.datastructures import Headers

from serving.access.access import (
    SCOPED_PATHS,
    Access,
    caller_of,
    check_binding,
    is_public,
    load_access,
    scope_of,
)
from serving.access.buckets import Buckets
from serving.access.keys import Scope
from serving.access.keys_watch import WatchedKeys
from serving.application import Application, routes
from serving.front import Front
from serving.problems import Problem
from serving.runtime import Runtime
from serving.settings import Settings, SettingsError

KEY = "s3cret"
DIGEST = hashlib.sha256(KEY.encode()).hexdigest()


def _access(*entries: str) -> Access:
    return Access(WatchedKeys(entries, None), Buckets(None))


@pytest.mark.parametrize("header", [{"Authorization": f"Bearer {KEY}"}, {"X-API-Key": KEY}])
def test_a_known_key_is_let_in(header: dict[str, str]) -> None:
    key = _access("0" * 64, f"{DIGEST} name=alice").authenticate(Headers(header))

    assert key is not None
    assert key.name == "alice"


@pytest.mark.parametrize(
    "header",
    [{}, {"X-API-Key": ""}, {"X-API-Key": DIGEST}, {"Authorization": f"Basic {KEY}"}, {"X-API-Key": "s3cre"}],
)
def test_anything_else_is_refused(header: dict[str, str]) -> None:
    with pytest.raises(Problem) as caught:
        _access(DIGEST).authenticate(Headers(header))

    assert caught.value.code == "unauthorized"
    assert caught.value.headers["WWW-Authenticate"] == "Bearer"


def test_without_keys_everything_is_allowed() -> None:
    access = _access()

    assert not access.asks_for_keys
    assert access.authenticate(Headers({"X-API-Key": KEY})) is None
    assert access.authorize(None, "/probe") == {}


@pytest.mark.parametrize(
    ("path", "scope"),
    [
        ("/classify", "classify"),
        ("/probe", "probe"),
        ("/v2", "classify"),
        ("/v2/models/colors/infer", "classify"),
        ("/v2/models/colors/versions/1/ready", "classify"),
        ("/models", None),
        ("/metrics", None),
        ("/classifyx", None),
        ("/v22", None),
    ],
)
def test_each_path_needs_its_scope(path: str, scope: Scope | None) -> None:
    assert scope_of(path) == scope


def test_every_route_that_computes_needs_a_scope() -> None:
    posts = [route.path for route in routes() if "POST" in (route.methods or ())]

    assert [path for path in posts if scope_of(path) is None] == []
    assert {prefix for prefix, _ in SCOPED_PATHS} >= {"/classify", "/probe", "/v2"}


def test_a_key_without_the_scope_is_told_which_one_it_lacks() -> None:
    access = _access(f"{DIGEST} name=alice scope=classify")
    key = access.authenticate(Headers({"X-API-Key": KEY}))

    assert access.authorize(key, "/classify") == access.authorize(key, "/models") == {}
    with pytest.raises(Problem) as caught:
        access.authorize(key, "/probe")
    assert (caught.value.code, caught.value.status) == ("forbidden", 403)
    assert caught.value.extensions["scope"] == "probe"
    assert "'alice' has the scopes classify, and this needs probe" in caught.value.detail


def test_a_key_that_cannot_be_counted_on_a_full_disk_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    access = _access(f"{DIGEST} name=alice rate=1/min")
    key = access.authenticate(Headers({"X-API-Key": KEY}))
    with monkeypatch.context() as disk:
        disk.setattr(os, "pwrite", full)
        with pytest.raises(Problem) as caught:
            access.authorize(key, "/classify")
    assert (caught.value.code, caught.value.status) == ("not_ready", 503)
    assert caught.value.headers == {"Retry-After": "5"}
    assert "'alice' cannot be counted" in str(caught.value) and "No space left" in str(caught.value)
    # It has cost nothing.
    assert access.authorize(key, "/classify")["RateLimit"].startswith('"key";r=0')


def test_a_key_over_its_quota_is_told_when_to_come_back() -> None:
    access = _access(f"{DIGEST} name=alice rate=2/min burst=2")
    key = access.authenticate(Headers({"X-API-Key": KEY}))

    told = [access.authorize(key, "/models") for _ in range(2)]
    with pytest.raises(Problem) as caught:
        access.authorize(key, "/classify")

    assert [headers["RateLimit"].partition(";t=")[0] for headers in told] == ['"key";r=1', '"key";r=0']
    assert {headers["RateLimit-Policy"] for headers in told} == {'"key";q=2;w=60'}
    assert (caught.value.code, caught.value.status) == ("rate_limited", 429)
    assert 29 <= int(caught.value.headers["Retry-After"]) <= 30
    assert caught.value.headers["RateLimit"].startswith('"key";r=0;t=')
    assert "'alice' may send 2/min, 2 at once" in caught.value.detail
    access.close()


def test_a_request_that_is_forbidden_costs_nothing() -> None:
    access = _access(f"{DIGEST} scope=classify rate=1/h")
    key = access.authenticate(Headers({"X-API-Key": KEY}))

    for _ in range(3):
        with pytest.raises(Problem, match="needs probe"):
            access.authorize(key, "/probe")

    assert access.authorize(key, "/classify")
    access.close()


def test_keys_come_from_settings_and_file(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"{DIGEST.upper()}  # me\n")

    for settings in (Settings(keys_file=file), Settings(keys=(DIGEST,))):
        assert load_access(settings).authenticate(Headers({"X-API-Key": KEY})) is not None
    assert not load_access(Settings()).asks_for_keys


@pytest.mark.parametrize("content", [None, "", f"{DIGEST}\n{KEY}\n"])
def test_a_keys_file_without_usable_keys_opens_nothing(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "keys"
    if content is not None:
        file.write_text(content)

    with pytest.raises(SettingsError, match="keys_file") as caught:
        load_access(Settings(keys_file=file, keys=("0" * 64,)))

    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    ("host", "public"),
    [
        ("127.0.0.1", False),
        ("127.8.8.8", False),
        ("::1", False),
        ("0.0.0.0", True),
        ("::", True),
        ("10.0.0.1", True),
    ],
)
def test_public_addresses_need_keys_or_consent(host: str, public: bool) -> None:
    assert is_public(host) is public
    check_binding(Settings(), host=host, has_keys=True)
    check_binding(Settings(allow_public=True), host=host, has_keys=False)
    if public:
        with pytest.raises(SettingsError, match="without keys"):
            check_binding(Settings(), host=host, has_keys=False)
    else:
        check_binding(Settings(), host=host, has_keys=False)


@pytest.mark.parametrize(
    ("settings", "url", "status"),
    [
        (Settings(), "http://10.0.0.1/models", 403),
        (Settings(), "http://10.0.0.1/livez", 200),
        (Settings(allow_public=True), "http://10.0.0.1/models", 200),
        (Settings(), "http://127.0.0.1/models", 200),
        (Settings(keys=(DIGEST,)), "http://127.0.0.1/models", 401),
        (Settings(keys=(DIGEST,)), "http://127.0.0.1/metrics", 401),
        (Settings(keys=(DIGEST,)), "http://127.0.0.1/nothing", 401),
        (Settings(keys=(DIGEST,)), "http://127.0.0.1/v2/models/colors", 401),
        (Settings(keys=(DIGEST,)), "http://127.0.0.1/docs", 200),
    ],
)
def test_the_server_asks_at_every_closed_path(settings: Settings, url: str, status: int) -> None:
    runtime = Runtime(settings)

    assert asyncio.run(_get(runtime, url)).status_code == status
    refused = runtime.metrics.registry.get_sample_value("clead_refused_total", {"code": "unauthorized"})
    assert refused == (1 if status == 401 else None)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("@socket", "@socket", True),
    ],
)
def test_a_caller_without_a_key_is_an_address_or_a_network_of_ipv6(one: str, other: str, same: bool) -> None:
    assert (caller_of(None, (one, 1)) == caller_of(None, (other, 2))) is same


@pytest.mark.parametrize("path", ["/v2/health/live", "/v2/health/ready"])
def test_health_is_open_in_both_protocols(path: str) -> None:
    assert asyncio.run(_get(Runtime(Settings(keys=(DIGEST,))), f"http://127.0.0.1{path}")).status_code != 401


async def _get(runtime: Runtime, url: str) -> httpx.Response:
    application = Application(runtime)
    front = Front(application, application=application)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(front)) as client:
        return await client.get(url)
