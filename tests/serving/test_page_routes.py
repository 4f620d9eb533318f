"""The page over HTTP: its headers, what is sent and what never is, and what it is told about the server."""

from __future__ import annotations

import asyncio
import re
from base64 import b64decode
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from serving.page_routes import FOLDER, page_files
from serving.page_settings import page_settings
from serving.settings import Settings
from tests.serving import pictures
from tests.serving.asking import ask
from tests.serving.color_bundle import SIDE
from tests.serving.conftest import Server
from tests.serving.in_process import asking, started

OUTSIDE = re.compile(rb"(?:src|href|url|import|fetch)\s*[=(]?\s*[\"'(]\s*(?:https?:)?//")
INLINE = re.compile(rb"<script(?![^>]*\bsrc=)|\son\w+=|\sstyle=|<style|javascript:")


def test_every_file_is_sent_as_what_it_is(server: Server) -> None:
    for name, file in page_files().items():
        reply = ask(server.port, "GET", f"/ui/{name}")

        assert (reply.status, reply.body) == (200, (FOLDER / name).read_bytes())
        assert reply.headers["content-type"] == file.media_type
        assert reply.headers["x-content-type-options"] == "nosniff"
    assert ask(server.port, "GET", "/ui/").body == (FOLDER / "index.html").read_bytes()


def test_the_policy_leaves_nothing_but_this_server(server: Server) -> None:
    policy = ask(server.port, "GET", "/ui/").headers["content-security-policy"]
    directives = dict(part.strip().partition(" ")[::2] for part in policy.split(";"))

    assert directives["default-src"] == "'none'"
    assert directives["script-src"] == directives["style-src"] == directives["connect-src"] == "'self'"
    assert directives["img-src"] == "'self' data: blob:"
    assert directives["frame-ancestors"] == directives["form-action"] == directives["base-uri"] == "'none'"


def test_no_file_holds_inline_code_or_names_another_server() -> None:
    for name, file in page_files().items():
        assert not OUTSIDE.search(file.content), name
        assert not INLINE.search(file.content) or not name.endswith(".html"), name


def test_a_file_that_is_known_already_is_not_sent_again(server: Server) -> None:
    first = ask(server.port, "GET", "/ui/main.js")
    known = ask(
        server.port, "GET", "/ui/main.js", headers={"If-None-Match": f'"other", W/{first.headers["etag"]}'}
    )
    other = ask(server.port, "GET", "/ui/main.js", headers={"If-None-Match": '"other"'})

    assert first.headers["cache-control"] == "no-cache"
    assert (known.status, known.body, known.headers["etag"]) == (304, b"", first.headers["etag"])
    assert other.status == 200


@pytest.mark.parametrize(
    "path",
    [
        "/ui/../service.py",
        "/ui/..%2fservice.py",
        "/ui/%2e%2e/keys.py",
        "/ui//etc/passwd",
        "/ui/.",
        "/ui/x.html",
    ],
)
def test_nothing_else_is_ever_sent(server: Server, path: str) -> None:
    reply = ask(server.port, "GET", path)

    assert reply.status == 404
    assert reply.json["code"] == "not_found"


def test_browsers_are_led_to_the_page(server: Server) -> None:
    browser = ask(server.port, "GET", "/", headers={"Accept": "text/html,*/*;q=0.8"})

    assert (browser.status, browser.headers["location"]) == (307, "ui/")
    assert ask(server.port, "GET", "/").headers["location"] == "/docs"
    assert ask(server.port, "GET", "/ui").headers["location"] == "ui/"


def test_the_settings_are_the_caps_of_the_server(server: Server) -> None:
    told = ask(server.port, "GET", "/ui/settings.json").json

    assert told["upload"]["max_bytes"] == 2_000_000
    assert told["asks_for_keys"] is False
    assert {example["file"] for example in told["examples"]} == {
        path.name for path in FOLDER.glob("example-*.png")
    }
    assert {"file": "example-black-dog.png", "name": "black dog"} in told["examples"]
    strict = page_settings(
        Settings(probe_max_steps=7, probe_max_eps_l2=1.5, probe=False), asks_for_keys=True, files=()
    )
    assert strict["steps"] == {"min": 1, "default": 7, "max": 7}
    assert strict["max_eps"]["l2"] == 1.5
    assert (strict["probe"], strict["asks_for_keys"], strict["examples"]) == (False, True, [])


async def _statuses(settings: Settings, *paths: str) -> list[int]:
    async with started(settings) as (front, _), asking(front) as client:
        return [(await client.get(path)).status_code for path in paths]


def test_the_page_needs_no_key_and_what_it_asks_for_does(models_dir: Path) -> None:
    settings = Settings(models_dir=models_dir, keys=("0" * 64,), engine="cpu", access_log=False)
    statuses = asyncio.run(_statuses(settings, "/ui/", "/ui/main.js", "/ui/settings.json", "/models", "/uix"))

    assert statuses == [200, 200, 200, 401, 401]


def test_classify_returns_what_the_model_sees(server: Server) -> None:
    reply = ask(
        server.port, "POST", "/classify?include=input", pictures.plain((200, 30, 30)), "image/png"
    ).json
    (url,) = reply["inputs"]
    seen = np.asarray(Image.open(BytesIO(b64decode(url.removeprefix("data:image/png;base64,")))))

    assert seen.shape == (SIDE, SIDE, 3)
    assert (seen == (200, 30, 30)).all()
    assert "inputs" not in ask(server.port, "POST", "/classify", pictures.plain(), "image/png").json
    refused = ask(server.port, "POST", "/classify?include=logits", pictures.plain(), "image/png")
    assert (refused.status, refused.json["parameter"], refused.json["accepted"]) == (
        422,
        "include",
        ["input"],
    )


def test_the_list_of_models_names_the_engine_of_those_in_memory(server: Server) -> None:
    ask(server.port, "POST", "/classify", pictures.plain(), "image/png")
    (listed,) = ask(server.port, "GET", "/models").json["models"]

    assert listed["engine"] == ask(server.port, "GET", "/readyz").json["engine"]
