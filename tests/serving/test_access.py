"""Keys, and addresses that others can reach."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import httpx
import pytest
from starlette.datastructures import Headers

from serving.access import KeyRing, check_binding, is_public, load_keys
from serving.application import build_application
from serving.front import Front
from serving.problems import Problem
from serving.runtime import Runtime
from serving.settings import Settings, SettingsError

KEY = "s3cret"
DIGEST = hashlib.sha256(KEY.encode()).hexdigest()


@pytest.mark.parametrize("header", [{"Authorization": f"Bearer {KEY}"}, {"X-API-Key": KEY}])
def test_a_known_key_is_admitted(header: dict[str, str]) -> None:
    KeyRing(["0" * 64, DIGEST]).admit(Headers(header))


@pytest.mark.parametrize(
    "header",
    [{}, {"X-API-Key": ""}, {"X-API-Key": DIGEST}, {"Authorization": f"Basic {KEY}"}, {"X-API-Key": "s3cre"}],
)
def test_anything_else_is_refused(header: dict[str, str]) -> None:
    with pytest.raises(Problem) as caught:
        KeyRing([DIGEST]).admit(Headers(header))

    assert caught.value.code == "unauthorized"
    assert caught.value.headers["WWW-Authenticate"] == "Bearer"


def test_keys_come_from_settings_and_file(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"# for the tests\n\n{DIGEST.upper()}  # me\n")

    load_keys(Settings(keys_file=file)).admit(Headers({"X-API-Key": KEY}))
    load_keys(Settings(keys=(DIGEST,))).admit(Headers({"X-API-Key": KEY}))
    assert not load_keys(Settings())


def test_a_wrong_keys_file_is_refused_by_line(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"{DIGEST}\n{KEY}\n")

    with pytest.raises(SettingsError, match="line 2") as caught:
        load_keys(Settings(keys_file=file))

    assert KEY not in str(caught.value)
    with pytest.raises(SettingsError, match="cannot be read"):
        load_keys(Settings(keys_file=tmp_path / "absent"))


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
        (Settings(keys=(DIGEST,)), "http://127.0.0.1/docs", 200),
    ],
)
def test_the_server_asks_at_every_closed_path(settings: Settings, url: str, status: int) -> None:
    async def scenario() -> httpx.Response:
        runtime = Runtime(settings)
        application = build_application(runtime)
        front = Front(application, application=application, runtime=runtime)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(front)) as client:
            return await client.get(url)

    assert asyncio.run(scenario()).status_code == status
