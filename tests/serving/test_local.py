"""A server without keys on loopback answers its own machine, and no page of another web site."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.datastructures import Headers

from serving.access.local import check_local, is_loopback, name_of
from serving.front import Front
from serving.problems import Problem
from serving.settings import Settings
from tests.serving import pictures
from tests.serving.asking import ask
from tests.serving.conftest import Server
from tests.serving.in_process import started

IMAGE = pictures.plain()
PROXY = ("clead.example", "fd00::1")


def _is_let_in(method: str, path: str, headers: dict[str, str]) -> bool:
    try:
        check_local(method, path, Headers(headers), PROXY)
    except Problem as problem:
        assert (problem.code, problem.status) == ("foreign_site", 403)
        return False
    return True


@pytest.mark.parametrize(
    ("host", "own"),
    [
        ("127.0.0.1:3000", True),
        ("127.1.2.3", True),
        ("localhost", True),
        ("LOCALHOST.:8080", True),
        ("clead.localhost:1", True),
        ("[::1]:3000", True),
        ("clead.example", True),
        ("Clead.Example:443", True),
        ("[fd00::1]:443", True),
        ("evil.example:3000", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example:3000", False),
        ("evillocalhost", False),
        ("0.0.0.0:3000", False),
        ("10.0.0.1", False),
        ("[::]:3000", False),
        ("", False),
        (":", False),
    ],
)
def test_whose_name_a_request_may_be_sent_to(host: str, own: bool) -> None:
    for method in ("GET", "POST"):
        assert _is_let_in(method, "/models", {"host": host}) is own
    assert _is_let_in("GET", "/metrics", {"host": host})


@pytest.mark.parametrize(
    ("headers", "own"),
    [
        ({}, True),
        ({"sec-fetch-site": "same-origin", "origin": "http://localhost:3000"}, True),
        ({"sec-fetch-site": "none"}, True),
        ({"sec-fetch-site": "cross-site"}, False),
        ({"sec-fetch-site": "cross-site", "origin": "http://localhost:3000"}, False),
        ({"sec-fetch-site": "same-site", "origin": "http://localhost:8888"}, False),
        ({"origin": "http://localhost:3000"}, True),
        ({"origin": "https://LocalHost:3000"}, True),
        ({"origin": "https://clead.example"}, True),
        ({"origin": "http://localhost:8888"}, False),
        ({"origin": "https://evil.example"}, False),
        ({"origin": "null"}, False),
        ({"origin": "http://["}, False),
        ({"origin": ""}, False),
    ],
)
def test_which_pages_may_have_something_computed(headers: dict[str, str], own: bool) -> None:
    sent = {"host": "localhost:3000", **headers}

    assert _is_let_in("POST", "/probe", sent) is own
    # A link, or an address that somebody types in.
    assert _is_let_in("GET", "/models", sent)


def test_the_page_behind_a_proxy_is_told_how_to_be_let_in() -> None:
    def detail(headers: dict[str, str], allowed_hosts: tuple[str, ...] = ()) -> str:
        try:
            check_local("POST", "/probe", Headers({"host": "127.0.0.1:3000", **headers}), allowed_hosts)
        except Problem as problem:
            return problem.detail
        return ""

    # As nginx sends it by itself, from a browser that takes http://box.lan for too unsafe to say more.
    proxied = {"origin": "http://box.lan"}
    assert "CLEAD_ALLOWED_HOSTS" in detail(proxied)
    assert detail(proxied, ("box.lan",)) == ""
    # Nothing helps the page of another site.
    assert "CLEAD_ALLOWED_HOSTS" not in detail({**proxied, "sec-fetch-site": "cross-site"})


def test_a_request_of_http_1_0_needs_no_host() -> None:
    assert _is_let_in("POST", "/classify", {})


def test_a_name_is_read_without_its_port() -> None:
    hosts = {"a": "a", "A.b:1": "a.b", "a.": "a", "[::1]:2": "::1", "[::1]": "::1", "a:": "a"}

    assert {host: name_of(host) for host in hosts} == hosts


def test_names_that_are_too_long_to_be_names_are_not_kept() -> None:
    is_loopback.cache_clear()

    assert not _is_let_in("GET", "/models", {"host": "a" * 60_000 + ".localhost"})
    assert is_loopback.cache_info().currsize == 0


def test_a_page_of_another_site_is_told_to_stay_away(server: Server) -> None:
    here = f"127.0.0.1:{server.port}"
    for headers in (
        {"Host": f"evil.example:{server.port}", "Sec-Fetch-Site": "same-origin"},
        {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"},
        {"Origin": "https://evil.example"},
    ):
        for path in ("/classify", "/probe", "/v2/models/colors/infer", "/nowhere"):
            reply = ask(server.port, "POST", path, IMAGE, "image/png", headers)
            assert (reply.status, reply.json["code"]) == (403, "foreign_site")
            assert "CLEAD_KEYS" in reply.json["detail"]
    rebound = ask(server.port, "GET", "/models", headers={"Host": f"evil.example:{server.port}"})
    assert rebound.status == 403
    assert "CLEAD_ALLOWED_HOSTS" in rebound.json["detail"]
    for path in ("/livez", "/readyz", "/metrics", "/ui/", "/docs"):
        assert ask(server.port, "GET", path, headers={"Host": "evil.example"}).status == 200
    own = {"Origin": f"http://{here}", "Sec-Fetch-Site": "same-origin"}
    assert ask(server.port, "POST", "/classify", IMAGE, "image/png", own).status == 200
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert ask(server.port, "GET", "/models", headers=link).status == 200


def _status(settings: Settings, address: str, **headers: str) -> int:
    async def asked() -> int:
        async with (
            started(settings) as (front, _),
            httpx.AsyncClient(
                transport=httpx.ASGITransport(_at(front, address)), base_url="http://evil.example"
            ) as client,
        ):
            return (await client.get("/models", headers=headers)).status_code

    return asyncio.run(asked())


def _at(front: Front, address: str) -> Any:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        await front({**scope, "server": (address, 3000)}, receive, send)

    return application


def test_what_decides_is_whether_anything_else_protects_the_server(models_dir: Path) -> None:
    plain = Settings(models_dir=models_dir, probe=False)
    entry = hashlib.sha256(b"k").hexdigest()

    assert _status(plain, "127.0.0.1") == 403
    assert _status(plain, "::1") == 403
    # Behind a proxy, whatever its name.
    assert _status(plain, "/run/clead.sock") == 200
    assert _status(plain.model_copy(update={"allowed_hosts": ("evil.example",)}), "127.0.0.1") == 200
    assert _status(plain.model_copy(update={"allow_public": True}), "127.0.0.1") == 200
    assert _status(plain.model_copy(update={"keys": (entry,)}), "127.0.0.1", **{"X-API-Key": "k"}) == 200
