"""Keys, and a server that goes away: the page says so, and goes on afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.browser.conftest import visiting
from tests.browser.keyed_server import KeyedServer
from tests.browser.visitor import Visitor


@pytest.fixture
def stranger(browser: Any, keyed: KeyedServer) -> Iterator[Visitor]:
    """Somebody at the server with keys who has not given one yet."""
    with visiting(browser, keyed.url) as one:
        one.page.goto(f"{keyed.url}/ui/")
        yield one


def _give(visitor: Visitor, key: str) -> None:
    visitor.page.fill("#key-input", key)
    visitor.page.get_by_role("button", name="Use key").click()


def test_a_key_is_asked_for_and_kept_in_this_tab_only(stranger: Visitor, keyed: KeyedServer) -> None:
    key = keyed.all
    page = stranger.page
    assert "This server answers requests with a key only." in stranger.text("dialog")
    _give(stranger, "wrong")
    # Asked again, and told why.
    page.wait_for_selector("dialog #key-input")
    _give(stranger, key)
    stranger.choose_example("horse")
    stranger.probe()

    stored = page.evaluate("[{ ...sessionStorage }, { ...localStorage }, document.cookie]")
    assert stored == [{"clead-key": key}, {}, ""]
    command = stranger.copied("Copy as curl")
    assert key not in command
    assert '-H "Authorization: Bearer $CLEAD_KEY"' in command
    assert key not in stranger.copied("Copy link")
    # It can be forgotten.
    page.get_by_role("button", name="Key", exact=True).click()
    page.get_by_role("button", name="Forget key").click()
    page.wait_for_selector("dialog #key-input")
    assert page.evaluate("sessionStorage.length") == 0


def test_without_a_key_the_page_says_what_it_lacks(stranger: Visitor) -> None:
    stranger.page.get_by_role("button", name="Cancel").click()
    notice = stranger.page.wait_for_selector('#stage [role="alert"]')

    assert "A valid API key is needed." in notice.inner_text()
    stranger.page.get_by_role("button", name="Enter a key").click()
    assert stranger.page.wait_for_selector("dialog")


def test_a_key_that_may_not_see_images_gets_the_rest_of_the_report(
    stranger: Visitor, keyed: KeyedServer
) -> None:
    _give(stranger, keyed.no_images)
    stranger.choose_example("horse")
    stranger.probe()

    assert "this key may not ask for one" in stranger.text(".outcome")
    assert stranger.page.locator(".headline, .chart").count() >= 2
    assert "include" not in stranger.copied("Copy as curl")


def test_with_one_model_comparing_says_what_is_missing(stranger: Visitor, keyed: KeyedServer) -> None:
    _give(stranger, keyed.all)
    stranger.page.wait_for_selector(".examples")
    stranger.page.get_by_role("link", name="Compare").click()

    assert "This server has one model, colors, and comparing takes two." in stranger.text("#compare-view")


def test_nothing_is_lost_when_the_server_goes_away(stranger: Visitor, keyed: KeyedServer) -> None:
    _give(stranger, keyed.all)
    stranger.choose_example("bird")
    stranger.more_settings({"steps": "5", "seed": "9"})
    keyed.stop()
    try:
        stranger.start_probe()
        stranger.page.wait_for_selector(".banner")
        assert "The server does not answer." in stranger.text(".banner")
        assert "Nothing was lost" in stranger.text('.result [role="alert"]')
        # It can be tried again; that changes nothing as long as nobody answers.
        stranger.page.locator(".banner").get_by_role("button", name="Try again").click()
        assert stranger.page.locator(".banner").is_visible()
    finally:
        keyed.start()
    stranger.page.locator(".banner").wait_for(state="detached")

    stranger.page.locator(".result").get_by_role("button", name="Try again").click()
    stranger.page.wait_for_selector(".outcome")
    assert stranger.page.input_value("#p-seed") == "9"
    assert "seed 9" in stranger.text(".outcome > .facts")


def test_a_server_that_is_full_is_a_sentence_with_a_second_try(visitor: Visitor) -> None:
    body = (
        '{"title": "The server is full", "status": 503, "code": "overloaded", '
        '"detail": "all places are taken: try again in a moment", "request_id": "abc"}'
    )
    visitor.open()
    visitor.choose_example("horse")
    visitor.page.route(
        "**/probe?*",
        lambda route: route.fulfill(status=503, body=body, content_type="application/problem+json"),
    )
    visitor.start_probe()
    notice = visitor.page.wait_for_selector('.result [role="alert"]').inner_text()

    assert "The server is full. All places are taken: try again in a moment." in notice
    visitor.page.unroute("**/probe?*")
    visitor.page.locator(".result").get_by_role("button", name="Try again").click()
    visitor.page.wait_for_selector(".outcome")
